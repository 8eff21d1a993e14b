"""Functions are called around a fork in the right process, and are not kept alive for that."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def run(code: str) -> str:
    """Run a program of its own: what is called around a fork stays so until the process exits."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_each_function_is_called_where_it_belongs() -> None:
    assert run("""
        import os
        from engineroom._interpreter import call_around_fork, call_in_child

        calls = []
        def before(): calls.append("before")
        def in_parent(): calls.append("in the parent")
        def in_child(): calls.append("in the child")
        def also(): calls.append("also in the child")

        call_around_fork(before, in_parent, in_child)
        call_in_child(also)
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        print(*calls, sep=", ", flush=True)
    """).splitlines() == ["before, in the child, also in the child", "before, in the parent"]


def test_a_function_that_is_gone_is_not_called_and_nothing_keeps_it() -> None:
    assert (
        run("""
        import os, weakref
        from engineroom._interpreter import call_around_fork, call_in_child

        def of_a_module_that_goes():
            def function(): print("called")
            call_around_fork(function, function, function)
            call_in_child(function)
            return weakref.ref(function)

        assert of_a_module_that_goes()() is None
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            print("quiet", flush=True)
    """)
        == "quiet\n"
    )


def test_an_event_reaches_its_judge_while_it_is_listed_and_the_judge_is_there() -> None:
    assert run("""
        import sys
        from engineroom._interpreter import hear_events

        heard = {"shop.open"}
        def judge(event, arguments): print(event, *arguments)

        hear_events(heard, judge)
        sys.audit("shop.open", 1)
        sys.audit("shop.close", 2)
        heard.add("shop.close")
        sys.audit("shop.close", 3)
        del judge
        sys.audit("shop.open", 4)
    """).splitlines() == ["shop.open 1", "shop.close 3"]


def test_a_finder_asks_as_long_as_there_is_somebody_to_ask() -> None:
    assert run("""
        import sys
        from engineroom._interpreter import Finder

        def find_spec(name, path, target):
            print("asked for", name)

        finder = Finder(find_spec)
        sys.meta_path.insert(0, finder)
        import colorsys
        del find_spec
        import wave
    """).splitlines() == ["asked for colorsys"]


def test_what_python_keeps_for_ever_keeps_nothing_else() -> None:
    names = run("""
        from engineroom import _interpreter
        own = (_interpreter.__name__, "weakref")
        for name, value in vars(_interpreter).items():
            simple = isinstance(value, (str, bool, list, dict)) or value is None
            if not name.startswith("__") and not simple and getattr(value, "__module__", "") not in own:
                print(name)
    """)
    assert names.split() == ["annotations"]  # of __future__, which holds numbers and words
