"""iptables-restore --noflush and iptables-save as a model: text in, the kernel's tables after it, text out.

It refuses what the kernel refuses: a jump to a chain that is not there, a chain deleted while it has rules or something
jumps to it, a rule deleted that is not there. Each table in the input is one transaction. A netns test holds it against
the real programs.
"""

from __future__ import annotations

BUILT_IN = {
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
}
VERDICTS = {"ACCEPT", "DROP", "RETURN", "MARK", "MASQUERADE", "REJECT", "DNAT", "LOG"}

Chains = dict[str, list[str]]


class RefusedError(Exception):
    """The kernel would not take a line."""


class Restored:
    """Tables as rule texts, in the order in which the chains were made."""

    def __init__(self) -> None:
        self.tables: dict[str, Chains] = {table: {name: [] for name in names} for table, names in BUILT_IN.items()}

    def restore(self, text: str) -> None:
        """Applies restore input; RefusedError names the line, and the table it belongs to stays as it was."""
        table, pending = "", {}
        for line in text.splitlines():
            if line.startswith("*"):
                table = line[1:]
                pending = {name: list(rules) for name, rules in self.tables[table].items()}
            elif line == "COMMIT":
                self.tables[table] = pending
            else:
                _apply(line, pending)

    def dump(self) -> str:
        """What iptables-save would print: user chains by name, after the built-in ones."""
        lines = []
        for table, chains in self.tables.items():
            ordered = sorted(chains, key=lambda name: (name not in BUILT_IN[table], name))
            lines.append(f"*{table}")
            lines += [f":{name} {'ACCEPT' if name in BUILT_IN[table] else '-'} [0:0]" for name in ordered]
            lines += [f"-A {name} {rule}".rstrip() for name in ordered for rule in chains[name]]
            lines.append("COMMIT")
        return "\n".join(lines) + "\n"


def _apply(line: str, chains: Chains) -> None:
    if line.startswith(":"):
        chains[line[1:].split()[0]] = []
        return
    verb, name, rule = [*line.split(" ", 2), ""][:3]
    if name not in chains:
        raise RefusedError(f"no chain {name}: {line}")
    match verb:
        case "-A" | "-I":
            if (wanted := _target(rule)) and wanted not in chains and wanted not in VERDICTS:
                raise RefusedError(f"no chain {wanted} to jump to: {line}")
            chains[name].insert(0 if verb == "-I" else len(chains[name]), rule)
        case "-D":
            if rule not in chains[name]:
                raise RefusedError(f"no such rule: {line}")
            chains[name].remove(rule)
        case "-X":
            users = [user for user, rules in chains.items() if any(_target(each) == name for each in rules)]
            if chains[name] or users:
                raise RefusedError(f"chain in use by {users}: {line}")
            del chains[name]
        case _:
            raise RefusedError(f"not understood: {line}")


def _target(rule: str) -> str:
    words = rule.split()
    return next((words[index + 1] for index, word in enumerate(words) if word in ("-j", "-g")), "")
