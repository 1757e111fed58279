"""The workloads on SimPy: a process a client, a process a message on its way."""
import random
import sys
import time

import simpy


def mm1(events):
    env, rng = simpy.Environment(), random.Random(1)
    server = simpy.Resource(env)
    seen = [0, 0.0]

    def customer():
        since = env.now
        with server.request() as turn:
            yield turn
            yield env.timeout(rng.expovariate(1 / 0.9))
        seen[0] += 1
        seen[1] += env.now - since

    def source():
        while True:
            env.process(customer())
            yield env.timeout(rng.expovariate(1.0))

    env.process(source())
    begin = time.process_time()
    # An arrival and a departure are the two events of a customer.
    while seen[0] < events // 2:
        env.step()
    return (time.process_time() - begin) * 1e9 / events, seen[1] / seen[0]


def ping_pong(pairs, messages):
    env, rng = simpy.Environment(), random.Random(1)
    inboxes = [simpy.Store(env) for _ in range(2 * pairs)]
    count = [0]

    def carry(to, ball):
        yield env.timeout(rng.expovariate(1000.0))
        inboxes[to].put(ball)

    def player(me, serves):
        if serves:
            env.process(carry(me ^ 1, me))
        while True:
            ball = yield inboxes[me].get()
            count[0] += 1
            env.process(carry(me ^ 1, ball))

    for me in range(2 * pairs):
        env.process(player(me, me % 2 == 0))
    begin = time.process_time()
    while count[0] < messages:
        env.step()
    return (time.process_time() - begin) * 1e9 / messages, count[0]


what, amount = sys.argv[1], int(sys.argv[2])
ns, check = mm1(amount) if what == "mm1" else ping_pong(1000, amount)
print(ns, check, 0)
