"""Puts the questions of docs/reliability.md to other executors, each in a process of its own.

    others.py                 # a table; loky and pebble are left out where they are not installed

An answer is what the process printed last; `exit` is how it ended then, and after how long. (After
`os._exit` a pool's processes may keep the pipe to this one open: then `never` says nothing.)
"""

import importlib.util
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HEAD = """
import os, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor, ProcessPoolExecutor

def loop(seconds=4):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return "done"

def crash():
    os.kill(os.getpid(), signal.SIGSEGV)

def one():
    return 1

def fail():
    raise ValueError

def make():
    return {make}

def submit(function, *args):
    return executor.{submit}({tag}(function), *args)

def say(*words):
    print(*words, flush=True)

if __name__ == "__main__":
    executor = make()
    assert submit(one).result(20) == 1
{body}
"""

EXECUTORS = {
    "ThreadPoolExecutor": ("ThreadPoolExecutor(2)", "submit", "", ""),
    "InterpreterPoolExecutor": (
        "__import__('concurrent.futures').futures.InterpreterPoolExecutor(2)", "submit", "", ""),
    "ProcessPoolExecutor": ("ProcessPoolExecutor(2)", "submit", "", ""),
    "loky": ("__import__('loky').ProcessPoolExecutor(2)", "submit", "", "loky"),
    "pebble": ("__import__('pebble').ProcessPool(2)", "schedule", "", "pebble"),
    "this project": (
        "__import__('aiointerpreters').InterpreterThreadPoolExecutor(2)", "submit",
        "__import__('aiointerpreters').interpreter", "aiointerpreters"),
}  # fmt: skip

QUESTIONS = {
    "cancel what runs": """
    future = submit(loop)
    time.sleep(0.5)
    say("cancel() is", future.cancel())
    began = time.monotonic()
    for one_more in [submit(one), submit(one), submit(one)]:
        one_more.result(20)
    say("cancelled", future.cancelled(), "others wait", round(time.monotonic() - began), "s")
    os._exit(0)
""",
    "a crash in C": """
    future = submit(crash)
    say("the task:", type(future.exception(20)).__name__)
    try:
        say("the next:", submit(one).result(20))
    except BaseException as error:
        say("the next:", type(error).__name__)
    os._exit(0)
""",
    "sys.exit(3) while a task runs": """
    submit(loop, 2)
    sys.exit(3)
""",
    "Ctrl-C in result()": """
    future = submit(loop, 4)
    threading.Timer(0.5, signal.pthread_kill, [threading.get_ident(), signal.SIGINT]).start()
    future.result()
""",
    "fork": """
    pid = os.fork()
    if pid == 0:
        signal.alarm(8)
        try:
            value = submit(one).result(5)
        except BaseException as error:
            value = type(error).__name__
        say("inherited executor:", value)
        os._exit(0)
    say("child ends with", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os._exit(0)
""",
    "a callback raises SystemExit": """
    def leave(future):
        raise SystemExit(5)
    for _ in range(2):
        submit(time.sleep, 0.2).add_done_callback(leave)
    time.sleep(1)
    try:
        say("the next:", submit(one).result(5))
    except BaseException as error:
        say("the next:", type(error).__name__)
    os._exit(0)
""",
}


def ask(folder, name, question, python):
    make, submit, tag, _ = EXECUTORS[name]
    body = QUESTIONS[question].lstrip("\n")
    script = Path(folder) / "question.py"
    script.write_text(HEAD.format(make=make, submit=submit, tag=tag, body=body))
    began = time.monotonic()
    try:
        done = subprocess.run([python, "-W", "ignore", script], capture_output=True, text=True,
                              timeout=25)  # fmt: skip
        code = done.returncode
        lines = done.stdout.splitlines()
    except subprocess.TimeoutExpired as hung:
        code, lines = "never", (hung.stdout or b"").decode().splitlines()
    return f"{'; '.join(lines[-2:]) or '-'}; exit {code} after {time.monotonic() - began:.1f} s"


def main():
    with tempfile.TemporaryDirectory() as folder:
        for question in QUESTIONS:
            print(f"\n{question}")
            for name, (*_, needs) in EXECUTORS.items():
                if needs and importlib.util.find_spec(needs) is None:
                    continue
                print(f"  {name:<24} {ask(folder, name, question, sys.executable)}", flush=True)


if __name__ == "__main__":
    main()
