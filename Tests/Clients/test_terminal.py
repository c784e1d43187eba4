"""`covey chat` and `covey ask` at a real pseudo terminal: what Ctrl-C does there."""

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time

import pytest
from conftest import BINARY

CTRL_C, CTRL_D = b"\x03", b"\x04"


class Typist:
    """A process whose standard streams are a terminal of its own, and who types there."""

    def __init__(self, cluster, *arguments):
        self.master, slave = pty.openpty()
        self.screen = b""
        self.process = subprocess.Popen(
            [BINARY, *arguments], stdin=slave, stdout=slave, stderr=slave, env={**cluster.environment, "COVEY_URL": cluster.url},
            start_new_session=True, preexec_fn=self.take_terminal,
        )
        os.close(slave)

    @staticmethod
    def take_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        # A shell starts what it runs in the background with SIGINT ignored, and children inherit that.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def type(self, keys):
        os.write(self.master, keys if isinstance(keys, bytes) else keys.encode())

    def read(self, seconds=1.0):
        """Adds what is on the screen since to `screen`; false once the process has closed it."""
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            more = os.read(self.master, 65_536)
        except OSError:  # what Linux says when the other side is closed
            return False
        self.screen += more
        return bool(more)

    def expect(self, pattern, seconds=60):
        """Waits until the screen shows the pattern, and forgets what came before its end."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern.encode(), self.screen, re.DOTALL)):
            assert time.monotonic() < end and self.read(), f"no {pattern!r} on the screen:\n{self.screen.decode(errors='replace')}"
        self.screen = self.screen[found.end() :]

    def wait(self, seconds=60):
        end = time.monotonic() + seconds
        while self.read(0.2) and time.monotonic() < end:
            pass
        return self.process.wait(seconds)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


@pytest.fixture
def talk(make_cluster, paced_model, tmp_path):
    """A Covey with a document and a model whose answers to questions with the word "long" never end."""
    cluster = make_cluster(serve=True, settings={"generation.url": paced_model.url, "generation.model": "paced"})
    (tmp_path / "owl.md").write_text("# Owls\n\nThe tawny owl eats wood mice and bank voles.\n")
    assert cluster.covey("ingest", str(tmp_path), "-c", "talk").returncode == 0

    def pieces(body):
        if "long" not in body["messages"][-1]["content"]:
            yield "Wood mice."
            return
        while True:  # at the pace of a slow model
            yield "and so on "
            time.sleep(0.02)

    paced_model.pieces = pieces
    typists = []

    def start(*arguments):
        typists.append(Typist(cluster, *arguments, "-c", "talk"))
        return typists[-1]

    yield start
    for typist in typists:
        typist.close()
    cluster.stop()


def turns(body):
    """What was said before, as the model got it."""
    return [(m["role"], m["content"]) for m in body["messages"] if m["role"] != "system"]


def test_ctrl_c_stops_an_answer_and_the_chat_goes_on(talk, paced_model):
    chat = talk("chat")
    chat.expect("> ")
    chat.type("What does the owl eat?\n")
    chat.expect(r"Wood mice\.")
    chat.expect("Sources.*owl.md")
    chat.expect("> ")
    paced_model.requests.get(timeout=60)

    chat.type("Tell me a long story.\n")
    chat.expect("and so on and so on")
    chat.type(CTRL_C)
    chat.expect("interrupted")
    stopped = paced_model.left.get(timeout=30)  # the model is told: it does not go on for nobody
    assert "long story" in stopped["messages"][-1]["content"]
    chat.expect("> ")

    chat.type("And what else?\n")
    chat.expect(r"Wood mice\.")
    chat.expect("> ")
    paced_model.requests.get(timeout=60)
    said = turns(paced_model.requests.get(timeout=60))
    # The stopped question and its half answer are no part of the conversation; the whole turn before it is.
    text = " ".join(content for _, content in said)
    assert "What does the owl eat?" in text and "Wood mice." in text and "And what else?" in text
    assert "long story" not in text and "and so on" not in text

    chat.type(CTRL_C)
    assert chat.wait() == 0


@pytest.mark.parametrize("keys", [CTRL_C, CTRL_D, "exit\n"])
def test_at_the_prompt_it_leaves(talk, keys):
    chat = talk("chat")
    chat.expect("> ")
    chat.type(keys)
    assert chat.wait() == 0


def test_ctrl_c_ends_ask_and_the_model_is_told(talk, paced_model):
    ask = talk("ask", "Tell me a long story.")
    ask.expect("and so on and so on")
    ask.type(CTRL_C)
    assert ask.wait() in (130, -signal.SIGINT)
    assert "long story" in paced_model.left.get(timeout=30)["messages"][-1]["content"]
