"""Cut before it is resized, with NumPy's generator shared out by epochs; the state is a dict; threads are one batch ahead."""

import collections
import os


def folder_source(root):
    names = [name for name in os.listdir(root) if os.path.isdir(os.path.join(root, name))]
    numbers = {name: number for number, name in enumerate(sorted(names))}
    found = [(name, file) for name in names for file in os.listdir(os.path.join(root, name)) if file.endswith(".JPEG")]
    found.sort()

    def read(number):
        name, file = found[number]
        with open(os.path.join(root, name, file), "rb") as opened:
            return opened.read(), numbers[name]

    return len(found), read


def shard_source(root):
    features = {
        "image/class/label": jax.ShapeDtypeStruct((), np.int64),
        "image/encoded": jax.ShapeDtypeStruct((), object),
    }
    shards = [data.tfrecord(path).apply(data.parse_example(features)) for path in sorted(Path(root).glob("train-*"))]
    ends = np.cumsum([shard.cardinality() for shard in shards])

    def read(number):
        shard = int(np.searchsorted(ends, number, side="right"))
        example = shards[shard].element(number - int(ends[shard]) + shards[shard].cardinality())
        return bytes(example["image/encoded"].item()), int(example["image/class/label"]) - 1

    return int(ends[-1]), read


def random_crop(height, width, seeds):
    rng = np.random.default_rng(seeds)
    areas, ratios = rng.uniform(0.08, 1, 10) * height * width, np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3), 10))
    widths, heights = np.rint(np.sqrt(areas * ratios)).astype(int), np.rint(np.sqrt(areas / ratios)).astype(int)
    fits = np.flatnonzero((widths > 0) & (widths <= width) & (heights > 0) & (heights <= height))
    w, h = (widths[fits[0]], heights[fits[0]]) if len(fits) else (width, height)
    left, top = rng.integers(width - w, endpoint=True), rng.integers(height - h, endpoint=True)
    return (left, top, left + w, top + h), rng.integers(2) == 1


def prepare(jpeg, box, mirrored, side):
    with Image.open(io.BytesIO(jpeg)) as image:
        part = image.convert("RGB").crop(box).resize((side, side), Image.Resampling.BICUBIC)
    if mirrored:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    scale, shift = 1 / (255 * STD), MEAN / STD
    return np.float32(np.asarray(part) * scale - shift)


def image_batches(source, side, batch_size, seed, state):
    count, read = source
    epoch, place = (state["epoch"], state["place"]) if state else (0, 0)
    streams = {}

    def order(epoch):
        if epoch not in streams:
            streams[epoch] = np.argsort(np.random.default_rng([epoch, seed]).random(count)).tolist()
        return streams[epoch]

    def places(epoch, place):
        while True:
            yield epoch, place
            epoch, place = (epoch, place + 1) if place + 1 < count else (epoch + 1, 0)

    def finished(epoch, place):
        number = order(epoch)[place]
        jpeg, label = read(number)
        box, mirrored = random_crop(*size_of(jpeg), [seed, 1_000 + epoch, number])
        return prepare(jpeg, box, mirrored, side), label

    coming, waiting = places(epoch, place), collections.deque()
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        while True:
            while len(waiting) < 2 * batch_size:
                now = next(coming)
                waiting.append((now, pool.submit(finished, *now)))
            done = [waiting.popleft() for _ in range(batch_size)]
            images, labels = np.empty((batch_size, side, side, 3), np.float32), np.empty(batch_size, np.int32)
            for row, (_, job) in enumerate(done):
                images[row], labels[row] = job.result()
            (epoch, place), _ = waiting[0]
            yield (images, labels), {"epoch": epoch, "place": place}
