import argparse


def add_arguments(p: argparse.ArgumentParser) -> None:
    pass


def run_demo(o: argparse.Namespace) -> int:
    return 0
