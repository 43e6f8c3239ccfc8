"""The commands that move data: ``download`` brings public image sets, ``export`` hands samples on, ``track`` logs."""

from pathlib import Path

import numpy as np

from collapse_jax import cli_flags as flags
from collapse_jax import cli_tables as tables
from collapse_jax.data.download import SETS, download
from collapse_jax.errors import CollapseError, OutputError, SpecError


def add_commands(command) -> None:
    """Add them to the parser; ``command(name, run, help, description)`` makes one."""
    made = command(
        "download",
        _download,
        "fetch a public image set",
        "Fetch a public image set into the user's cache, where --data finds it by name. Files are checked\n"
        "against their published MD5; the same command continues an interrupted fetch. No other one uses the network.",
    )
    made.add_argument("set", metavar="SET", help=f"one of: {', '.join(SETS)} (either version of CIFAR-10 will do)")
    made.add_argument("--folder", metavar="FOLDER", help="put the files here; default: the user's cache")
    made.add_argument("--json", action="store_true", help="an object instead of a line per file")

    made = command(
        "export",
        _export,
        "write samples as PNG files or as one array, for programs that judge images",
        "Write saved samples as numbered PNG files, or as uint8 [n, height, width, channels] under the key images of\n"
        "an .npz.",
    )
    made.add_argument(
        "source", metavar="SOURCE", help="a results folder, an .npz, or a set of real images as for --data"
    )
    made.add_argument("--array", metavar="NAME", help="which array; default: the only one that could be images")
    made.add_argument(
        "--index",
        type=flags.whole,
        nargs="+",
        default=[],
        metavar="N",
        help="place on each axis before the images, such as the generation; -1 is the last; default: none",
    )
    made.add_argument(
        "--range",
        type=flags.real,
        nargs=2,
        metavar=("BLACK", "WHITE"),
        help="values of black and of full brightness, others are cut; default for bytes 0 255, for others none",
    )
    made.add_argument("--png", metavar="FOLDER", help="write PNG files into this new folder")
    made.add_argument("--npz", metavar="FILE", help="write this .npz")
    made.add_argument("--json", action="store_true", help="an object instead of a line")

    made = command(
        "track",
        _track,
        "show the logs of a run over generations in TensorBoard",
        "Write the logs of an experiment that trains as runs of TensorBoard, one for each arm and seed, with\n"
        "generations as steps. A run under way can be looked at too: name its .partial folder; again writes it anew.",
    )
    made.add_argument("source", metavar="SOURCE", help="a results folder, or the .partial folder of a run under way")
    made.add_argument("--tensorboard", metavar="FOLDER", required=True, help="where to write, for tensorboard --logdir")
    made.add_argument("--json", action="store_true", help="an object instead of a line")


def _download(args) -> tuple[str, int]:
    files = download(args.set, None if args.folder is None else Path(args.folder))
    if args.json:
        return tables.as_json({"set": args.set, "files": [str(file) for file in files]}), 0
    return "".join(f"{file}\n" for file in files), 0


def _export(args) -> tuple[str, int]:
    from collapse_jax.data.export import as_images, saved_array, write_npz
    from collapse_jax.data.pictures import write_pictures

    if args.png is None and args.npz is None:
        raise SpecError("nothing to write: pass --png FOLDER, --npz FILE or both.")
    if args.npz is not None and not args.npz.endswith(".npz"):
        raise SpecError(f"npz must be a file name that ends in .npz, got {args.npz!r}.")
    path = Path(args.source)
    if path.suffix == ".npz" or (path / "arrays.npz").is_file():
        name, array = saved_array(path, args.array)
        low, high = (None, None) if args.range is None else args.range
        images = as_images(array, index=args.index, low=low, high=high)
    else:
        name, images = _real_images(args)
    written = []
    try:
        if args.png is not None:
            write_pictures(args.png, images)
            written.append(args.png)
        if args.npz is not None:
            write_npz(args.npz, images)
            written.append(args.npz)
    except CollapseError:
        raise
    except ValueError as error:
        raise SpecError(f"{error}.") from None
    except OSError as error:
        raise OutputError(f"cannot write the images: {error.strerror or error}; name another place.") from None
    answer = {"array": name, "shape": list(images.shape), "written": written}
    if args.json:
        return tables.as_json(answer), 0
    count, height, width, channels = images.shape
    kind = "grey" if channels == 1 else "colour"
    return f"{count} {kind} images of {width}x{height} from {name}: {', '.join(written)}\n", 0


def _track(args) -> tuple[str, int]:
    from collapse_jax.data.logs import read_logs, to_tensorboard

    logs = read_logs(Path(args.source))
    numbers = to_tensorboard(logs, Path(args.tensorboard))
    answer = {"runs": list(logs), "numbers": numbers, "written": args.tensorboard}
    if args.json:
        return tables.as_json(answer), 0
    return f"{numbers} numbers of {len(logs)} runs: tensorboard --logdir {args.tensorboard}\n", 0


def _real_images(args) -> tuple[str, np.ndarray]:
    """What ``load`` finds, with 255 for full brightness: real images to hold samples against."""
    from collapse_jax.data.export import as_images
    from collapse_jax.data.images import load

    if args.array is not None or args.index or args.range is not None:
        raise SpecError(
            f"array, index and range are for saved samples, and {args.source} is no results folder or .npz."
        )
    try:
        found = load(args.source)
    except (ValueError, FileNotFoundError) as error:
        raise SpecError(f"{error}.") from None
    return found.name, as_images(found.images, low=0, high=found.levels)
