"""Everything goes back from a node to its inputs, by functions that call themselves."""


def topological_order(graph):
    order, placing = [], set()

    def place(name):
        if name in placing:
            raise ValueError(f"{name} needs itself")
        if name not in order:
            placing.add(name)
            for source in graph[name][1]:
                place(source)
            placing.remove(name)
            order.append(name)

    for name in graph:
        place(name)
    return order


def find_cycle(graph):
    followed = dict.fromkeys(graph, False)

    def walk(name, path):
        if name in path:
            cycle = path[path.index(name) :]
            cycle.reverse()
            return cycle
        if not followed[name]:
            followed[name] = True
            for source in graph[name][1]:
                if (cycle := walk(source, path + [name])) is not None:
                    return cycle
        return None

    for name in graph:
        if (cycle := walk(name, [])) is not None:
            return cycle


def needed(graph, fetches, fed):
    fed = frozenset(fed)

    def behind(name):
        return frozenset() if name in fed else frozenset([name]).union(*map(behind, graph[name][1]))

    return frozenset().union(*map(behind, fetches))


def evaluate(graph, fetches, feeds):
    known = {}

    def value(name):
        if name in feeds:
            return feeds[name]
        if name not in known:
            operation, inputs = graph[name]
            if operation == "placeholder":
                raise ValueError("feed " + name)
            known[name] = OPERATIONS[operation](*map(value, inputs))
        return known[name]

    return list(map(value, fetches))
