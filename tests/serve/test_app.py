"""The web application behind a real server: answers, refusals, many at once, and how it stops."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from served import NAMES, asked, by_hand, drawn, exported, running

from aidl_jax.serve import load, probabilities
from aidl_jax.serve.requests import MOST_BYTES

JSON = {"content_type": "application/json"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(exported(tmp_path_factory.mktemp("model"))[0])


@pytest.fixture(scope="module")
def port(model):
    with running(model) as (_, port):
        yield port


def body_of(images):
    return json.dumps({"examples": images.tolist()})


def expected(images):
    return probabilities(by_hand(images))


def told(predictions):
    return np.array([[one["probabilities"][name] for name in NAMES] for one in predictions["predictions"]])


def test_json_is_answered_as_the_model_answers(port):
    status, headers, answer = asked(port, "POST", "/predict", body_of(drawn(5)), **JSON)
    assert status == 200 and headers["content-type"] == "application/json"
    np.testing.assert_allclose(told(answer), expected(drawn(5)), atol=1e-5)
    assert [one["class"] for one in answer["predictions"]] == [NAMES[row.argmax()] for row in expected(drawn(5))]


def test_a_picture_is_answered(port):
    file = io.BytesIO()
    Image.fromarray(drawn(1)[0, :, :, 0]).save(file, "PNG")
    status, _, answer = asked(port, "POST", "/predict", file.getvalue(), content_type="image/png")
    assert status == 200
    np.testing.assert_allclose(told(answer), expected(drawn(1)), atol=1e-5)


def test_many_at_once_get_each_their_own(port):
    batches = [drawn(1 + seed % 5, seed) for seed in range(60)]
    with ThreadPoolExecutor(12) as clients:
        answers = list(clients.map(lambda one: asked(port, "POST", "/predict", body_of(one), **JSON), batches))
    for batch, (status, _, answer) in zip(batches, answers, strict=True):
        assert status == 200
        np.testing.assert_allclose(told(answer), expected(batch), atol=1e-5)


def test_it_says_that_it_is_well_and_what_it_serves(port, model):
    assert asked(port, path="/healthz")[::2] == (200, {"status": "ok", "waiting": 0})
    status, _, answer = asked(port, path="/model")
    assert (status, answer["sha256"], answer["class_names"], answer["shape"]) == (200, model.sha256, NAMES, [4, 3, 1])


def nested(value, rows=4, columns=3):
    return json.dumps({"examples": [[[[value]] * columns] * rows]})


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("{", 400, "the body is not JSON: given Expecting"),
        ('{"examples": [NaN]}', 400, "the body is not JSON: given NaN is not JSON"),
        ("[" * 100_000, 400, "the body is not JSON: given it is nested too deeply"),
        (b"\xff\xfe\xfd", 400, "the body is not JSON"),
        ("[]", 422, 'the body holds no examples: given a list, expected {"examples": [...]}. Fix: send a list'),
        ('{"examples": []}', 422, "the body holds no examples: given a dict with examples"),
        ('{"images": [1], "more": 2}', 422, "the body holds no examples: given a dict with images, more"),
        ('{"examples": 7}', 422, "the body holds no examples"),
        (nested(1, rows=5), 422, "an example has another shape than the model takes: expected uint8[4, 3, 1] for each"),
        ('{"examples": [[[[1], 2, [3]]]]}', 422, "an example has another shape"),
        (nested(256), 422, "a number is out of range: given 256, expected 0 to 255, for uint8"),
        (nested(-1), 422, "a number is out of range: given -1"),
        (nested(10**400), 422, "a number is out of range: given 1000"),
        (nested(0.5), 422, "this is no number that the model takes: given 0.5, expected uint8. Fix: send numbers"),
        (nested(True), 422, "this is no number that the model takes: given true"),
        (nested("7"), 422, 'this is no number that the model takes: given "7"'),
        (nested([7]), 422, "this is no number that the model takes: given [7]"),
        (nested(None), 422, "this is no number that the model takes: given null"),
        (
            json.dumps({"examples": [1] * 65}),
            413,
            "there are too many examples: given 65, expected at most 64. Fix: send several",
        ),
        (b" " * (MOST_BYTES + 1), 413, "the body is too large: expected at most 8,388,608 bytes. Fix: send fewer"),
    ],
)
def test_error_bodies(port, body, status, words):
    got, _, answer = asked(port, "POST", "/predict", body, **JSON)
    assert got == status and answer.keys() == {"error"}
    assert answer["error"].startswith(words) and " Fix: " in answer["error"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "words"),
    [
        ("POST", "/predict", {"content_type": "text/csv"}, 415, "bodies of this type are not read: given text/csv"),
        ("POST", "/predict", {"content_type": "image/png"}, 422, "this is no picture that can be read"),
        ("GET", "/predict", {}, 405, "GET /predict: Method Not Allowed. Fix: POST /predict"),
        ("GET", "/none", {}, 404, "GET /none: Not Found. Fix: POST /predict, GET /"),
    ],
)
def test_error_requests(port, method, path, headers, status, words):
    got, _, answer = asked(port, method, path, b"x", **headers)
    assert (got, answer["error"].startswith(words)) == (status, True)


class Gated:
    """A model that waits until it may answer."""

    def __init__(self, model):
        self.manifest, self.sha256, self.model = model.manifest, model.sha256, model
        self.at_work, self.open = threading.Event(), threading.Event()

    def predict(self, examples):
        self.at_work.set()
        assert self.open.wait(30)
        if examples.max() == 255:
            raise ValueError("a secret of the model")
        return self.model.predict(examples)


def test_a_model_that_is_busy_and_one_that_fails(model):
    gated = Gated(model)
    with running(gated, room=2) as (_, port), ThreadPoolExecutor(4) as clients:
        one, two = body_of(np.zeros((1, 4, 3, 1), np.uint8)), body_of(np.zeros((2, 4, 3, 1), np.uint8))
        first = clients.submit(asked, port, "POST", "/predict", one, **JSON)
        assert gated.at_work.wait(30)
        waiting = clients.submit(asked, port, "POST", "/predict", two, **JSON)
        wait_for(port, 2)
        status, headers, answer = asked(port, "POST", "/predict", one, **JSON)
        assert (status, headers["retry-after"]) == (503, "1")
        assert answer["error"] == "too many examples wait for an answer. Fix: ask again in a second"
        gated.open.set()
        assert first.result()[0] == waiting.result()[0] == 200
        failed = asked(port, "POST", "/predict", nested(255), **JSON)
        assert failed[0] == 500 and failed[2]["error"].startswith("the model failed on this request; what happened is")
        assert asked(port, "POST", "/predict", one, **JSON)[0] == 200


def wait_for(port, waiting):
    for _ in range(1_000):
        if asked(port, path="/healthz")[2]["waiting"] == waiting:
            return
        time.sleep(0.01)
    raise AssertionError(f"never did {waiting} examples wait")


def test_a_stop_answers_what_was_accepted(model):
    gated = Gated(model)
    with ThreadPoolExecutor(6) as clients:
        with running(gated) as (server, port):
            first, *others = [body_of(drawn(3, seed)) for seed in range(5)]
            accepted = [clients.submit(asked, port, "POST", "/predict", first, **JSON)]
            assert gated.at_work.wait(30)
            accepted += [clients.submit(asked, port, "POST", "/predict", body, **JSON) for body in others]
            wait_for(port, 12)
            server.should_exit = True  # what SIGTERM does
            while is_open(port):
                pass
            gated.open.set()
        for seed, one in enumerate(accepted):
            status, _, answer = one.result()
            assert status == 200
            np.testing.assert_allclose(told(answer), expected(drawn(3, seed)), atol=1e-5)


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def test_the_page_lets_nothing_run_but_its_own(port, model):
    status, headers, page = asked(port)
    policy = headers["content-security-policy"]
    assert status == 200 and headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert "http://" not in page and "https://" not in page and "src=" not in page
    evil = replace(model, manifest=replace(model.manifest, class_names=("<script>alert(1)</script>", '"b', "c")))
    with running(evil) as (_, other):
        assert "<script>alert" not in asked(other)[2] and "&lt;script&gt;alert" in asked(other)[2]


def test_a_model_of_numbers_has_a_page_without_a_field(model):
    numbers = replace(model, manifest=replace(model.manifest, shape=(12,), dtype="float32"))
    with running(numbers) as (_, port):
        page = asked(port)[2]
        assert "<canvas" not in page and "float32[12], which is no picture" in page
