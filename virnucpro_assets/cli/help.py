"""The help of commands: whole summaries, in groups, with examples that can be copied."""

from typing import Any

from typer.core import TyperArgument, TyperGroup

GROUPS = {
    "From reads to results": ("predict", "demo", "prepare"),
    "Drops": ("drops", "materialize", "retry", "report", "checks", "summary", "cleanup", "forget"),
    "Models and classifiers": ("models", "train", "classifiers"),
    "Contigs": ("reads-from-contigs",),
    "This installation": ("settings", "init", "ui"),
}
WHOLE = 400
"""Letters of a summary at most: more than any has."""


class Commands(TyperGroup):
    """A group of commands whose help has GROUPS, as far as they are in it, and whole summaries."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command whose help names no types of Python, such as `<list[Path]>`, behind its arguments."""
        command = super().get_command(ctx, cmd_name)
        for param in command.params if command else ():
            if isinstance(param, TyperArgument):
                param.display_type_rich = lambda ctx: None  # type: ignore[method-assign]
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        left = {name: command for name, command in self.commands.items() if not command.hidden}
        for title, names in GROUPS.items():
            self._section(formatter, title, {name: left.pop(name) for name in names if name in left})
        self._section(formatter, "Commands", left)

    @staticmethod
    def _section(formatter: Any, title: str, commands: dict[str, Any]) -> None:
        if commands:
            with formatter.section(title):
                formatter.write_dl(
                    [(name, command.get_short_help_str(WHOLE)) for name, command in commands.items()]
                )


def examples(*lines: str) -> str:
    """The last lines of a command's help: examples, a line each."""
    # The mark keeps the help from filling up lines.
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
