"""The yardstick of coldstart: a Typer program with two commands and nothing behind them."""

import typer

app = typer.Typer()


@app.command()
def hello(name: str) -> None:
    print(f"Hello {name}")


@app.command()
def goodbye(name: str, formal: bool = False) -> None:
    print(f"Goodbye {'Mx. ' if formal else ''}{name}")


if __name__ == "__main__":
    app()
