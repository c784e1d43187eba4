"""A network namespace for each process of the drill, joined by a bridge, with packets dropped on demand.

Node addresses are loopback addresses with one port each, so every namespace translates: what goes to another's port leaves with that
one's address, and what arrives at an own port goes to loopback. The kernel's own TCP does the rest: resets, silence and repeats are real.
"""

import os
import subprocess

SUBNET = "10.77.0"


def is_possible():
    """Whether this machine lets us make namespaces and drop packets; needs root."""
    if os.geteuid() != 0:
        return False
    probe = f"covey-drill-{os.getpid()}-probe"
    try:
        made = subprocess.run(["ip", "netns", "add", probe], capture_output=True).returncode == 0
        rules = "table ip t {\nchain c { type nat hook output priority -100; }\n}"
        works = made and subprocess.run(["ip", "netns", "exec", probe, "nft", "-f", "-"], input=rules, text=True, capture_output=True).returncode == 0
        subprocess.run(["ip", "netns", "del", probe], capture_output=True)
        return works
    except FileNotFoundError:
        return False


def hub_name(pid):
    return f"covey-drill-{pid}-hub"


class Network:
    """Made by the process that runs in the hub's namespace; `close` removes every namespace but the hub's."""

    def __init__(self, pid, names):
        self.pid = pid
        self.addresses = {"hub": f"{SUBNET}.1"} | {name: f"{SUBNET}.{10 + i}" for i, name in enumerate(names)}
        self._run(None, "ip", "link", "set", "lo", "up")
        self._run(None, "ip", "link", "add", "bridge", "type", "bridge")
        self._run(None, "ip", "addr", "add", f"{SUBNET}.1/24", "dev", "bridge")
        self._run(None, "ip", "link", "set", "bridge", "up")
        # What crosses the bridge is no business of the hub's own rules.
        subprocess.run(["sysctl", "-q", "-e", "-w", "net.bridge.bridge-nf-call-iptables=0"], capture_output=True)
        self._prepare("hub", "bridge")
        for i, name in enumerate(names):
            space = self.space(name)
            self._run(None, "ip", "netns", "add", space)
            self._run(None, "ip", "link", "add", f"port{i}", "type", "veth", "peer", "name", "uplink", "netns", space)
            self._run(None, "ip", "link", "set", f"port{i}", "master", "bridge", "up")
            self._run(name, "ip", "link", "set", "lo", "up")
            self._run(name, "ip", "addr", "add", f"{self.addresses[name]}/24", "dev", "uplink")
            self._run(name, "ip", "link", "set", "uplink", "up")
            self._prepare(name, "uplink")

    def space(self, name):
        return f"covey-drill-{self.pid}-{name}"

    def prefix(self, name):
        """Words before a command that is to run on a node's side."""
        return [] if name == "hub" else ["ip", "netns", "exec", self.space(name)]

    def _run(self, name, *command, text=None):
        subprocess.run([*self.prefix(name or "hub"), *command], input=text, text=True, check=True, capture_output=True)

    def _prepare(self, name, device):
        for key in (f"{device}.route_localnet=1", f"{device}.rp_filter=0", "all.rp_filter=0"):
            self._run(name, "sysctl", "-q", "-w", f"net.ipv4.conf.{key}")
        self._run(name, "nft", "-f", "-", text=f"""
            table ip drill {{
                map services {{ type inet_service : ipv4_addr . inet_service; }}
                set own {{ type inet_service; }}
                set cut {{ type ipv4_addr; }}
                set mute {{ type ipv4_addr; }}
                set resets {{ type ipv4_addr; }}
                chain out {{ type nat hook output priority -100; ip daddr 127.0.0.1 dnat ip addr . port to tcp dport map @services; }}
                chain arriving {{ type nat hook prerouting priority -100; iifname "{device}" tcp dport @own dnat to 127.0.0.1; }}
                chain leaving {{ type nat hook postrouting priority 100; oifname "{device}" masquerade; }}
                chain input {{ type filter hook input priority 0; ip saddr @cut drop; }}
                chain output {{ type filter hook output priority 0; ip daddr @cut drop; ip daddr @mute drop; ip daddr @resets reject with tcp reset; }}
            }}""")

    def serve(self, name, port):
        """What listens at 127.0.0.1:port in a node's namespace is reached under that address from all others."""
        self._run(name, "nft", "add", "element", "ip", "drill", "own", f"{{ {port} }}")
        for other in self.addresses:
            if other != name:
                self._route(other, port, f"{self.addresses[name]} . {port}")

    def _route(self, caller, port, target):
        self._run(caller, "nft", "add", "element", "ip", "drill", "services", f"{{ {port} : {target} }}")

    def redirect(self, name, port, proxy_port):
        """Calls to a node's port go to a port of the hub from now on; connections that stand are reset."""
        self._reroute(name, port, f"{self.addresses['hub']} . {proxy_port}")

    def restore(self, name, port):
        self._reroute(name, port, f"{self.addresses[name]} . {port}")

    def _reroute(self, name, port, target):
        callers = [other for other in self.addresses if other not in (name, "hub")]
        for caller in callers:
            self._run(caller, "nft", "delete", "element", "ip", "drill", "services", f"{{ {port} }}")
            self._route(caller, port, target)
        for caller in callers:
            self._change(caller, "add", "resets", [name, "hub"])
        for caller in callers:
            self._change(caller, "delete", "resets", [name, "hub"])

    def _change(self, name, verb, what, others):
        for other in others:
            self._run(name, "nft", verb, "element", "ip", "drill", what, f"{{ {self.addresses[other]} }}")

    def cut(self, name, *others):
        """Nothing passes between a node and these others (all, if none is named), in either direction."""
        self._change(name, "add", "cut", others or [other for other in self.addresses if other != name])

    def mute(self, name):
        """Nothing that the node sends arrives; it hears everything."""
        self._change(name, "add", "mute", [other for other in self.addresses if other != name])

    def heal(self, name):
        for kind in ("cut", "mute"):
            self._run(name, "nft", "flush", "set", "ip", "drill", kind)

    def close(self):
        for name in self.addresses:
            if name != "hub":
                subprocess.run(["ip", "netns", "del", self.space(name)], capture_output=True)
