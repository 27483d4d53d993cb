"""``roentmod-fast doctor``: what is installed, what works, what to type where it does not."""

from __future__ import annotations

import sys

import click


@click.command("doctor")
def command() -> None:
    """Check what is installed, which devices work and which engine would be used; each problem has a remedy.

    Exit status 0 means that this machine is ready to edit.

    \b
    Example:
      roentmod-fast doctor
    """
    from roentmod_fast.doctor import examine

    findings = examine()
    for finding in findings:
        mark = {"ok": "ok      ", "note": "note    ", "problem": "PROBLEM "}[finding.level]
        click.echo(f"{mark}{finding.subject}: {finding.text}")
        if finding.remedy:
            click.echo(f"        remedy: {finding.remedy}")
    sys.exit(1 if any(finding.level == "problem" for finding in findings) else 0)
