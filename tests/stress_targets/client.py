"""A session on a control socket: client.py SOCKET"""
import itertools
import json
import socket
import sys


class Control:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.lines = self.socket.makefile()
        self.ids = itertools.count(1)

    def __call__(self, method, *parameters, **named):
        request = {"jsonrpc": "2.0", "id": next(self.ids), "method": method, "params": named or parameters}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(self.lines.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"]["message"])
        return answer["result"]


control = Control(sys.argv[1])
control("mt.mem_alloc", 10, "k")
print(control("mt.mem_used", "k")["bytes"], "KiB")
test = control("mt.mem_test_start", min=16, max=64, total=100000, min_int=0.1, max_int=0.1, time=60000)["id"]
print([test["running"] for test in control("mt.mem_test_list", test)["tests"]])
control("mt.mem_test_destroy", test)
print(control("mt.mem_free")["bytes"], "bytes freed")
