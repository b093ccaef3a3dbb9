"""Sets that grow or shrink by a layer at a time; nothing calls itself."""


def topological_order(graph):
    order = []
    while len(order) < len(graph):
        layer = sorted(name for name in set(graph) - set(order) if set(graph[name][1]) <= set(order))
        if not layer:
            raise ValueError("these wait for each other: " + ", ".join(set(graph) - set(order)))
        order += layer
    return order


def find_cycle(graph):
    left = dict(graph)
    while True:
        used = {source for _, inputs in left.values() for source in inputs}
        inner = {name: node for name, node in left.items() if name in used and set(node[1]) & set(left)}
        if inner == left:
            break
        left = inner
    if not left:
        return None
    path = [next(iter(left))]
    while True:  # every node that is left has an input that is left
        source = next(name for name in left[path[-1]][1] if name in left)
        if source in path:
            return list(reversed(path[path.index(source) :]))
        path.append(source)


def needed(graph, fetches, fed):
    layer = set(fetches) - set(fed)
    found = set(layer)
    while layer:
        layer = {source for name in layer for source in graph[name][1]} - set(fed) - found
        found |= layer
    return found


def evaluate(graph, fetches, feeds):
    values = {**feeds}
    to_run = needed(graph, fetches, feeds.keys())
    while to_run:
        for name in sorted(to_run):
            operation, inputs = graph[name]
            if operation == "placeholder":
                raise ValueError(f"{name}: no value")
            if all(source in values for source in inputs):
                values[name] = OPERATIONS[operation](*(values[source] for source in inputs))
                to_run = to_run - {name}
    return [values[name] for name in fetches]
