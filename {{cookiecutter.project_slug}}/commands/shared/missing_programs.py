"""Libraries and programs of the operating system that an error names, and the Debian packages that bring them."""

from __future__ import annotations

import re

# A library's file, up to the number of its version -> the package; both are of Debian and Ubuntu.
_LIBRARIES = {
    "libEGL.so": "libegl1",
    "libGL.so": "libgl1",
    "libGLESv2.so": "libgles2",
    "libICE.so": "libice6",
    "libSM.so": "libsm6",
    "libX11.so": "libx11-6",
    "libXext.so": "libxext6",
    "libXrender.so": "libxrender1",
    "libasound.so": "libasound2",
    "libatomic.so": "libatomic1",
    "libcairo.so": "libcairo2",
    "libexpat.so": "libexpat1",
    "libfontconfig.so": "libfontconfig1",
    "libfreetype.so": "libfreetype6",
    "libgeos_c.so": "libgeos-c1v5",
    "libgfortran.so": "libgfortran5",
    "libglib-2.0.so": "libglib2.0-0",
    "libgobject-2.0.so": "libglib2.0-0",
    "libgomp.so": "libgomp1",
    "libgthread-2.0.so": "libglib2.0-0",
    "libhdf5.so": "libhdf5-dev",
    "libmagic.so": "libmagic1",
    "libmariadb.so": "libmariadb3",
    "libnuma.so": "libnuma1",
    "libodbc.so": "unixodbc",
    "libomp.so": "libomp5",
    "libopenblas.so": "libopenblas0",
    "libpango-1.0.so": "libpango-1.0-0",
    "libpangocairo-1.0.so": "libpangocairo-1.0-0",
    "libportaudio.so": "libportaudio2",
    "libpq.so": "libpq5",
    "libsndfile.so": "libsndfile1",
    "libsox.so": "libsox3",
    "libstdc++.so": "libstdc++6",
    "libtbb.so": "libtbb12",
    "libusb-1.0.so": "libusb-1.0-0",
    "libvips.so": "libvips42",
    "libxcb.so": "libxcb1",
    "libxml2.so": "libxml2",
    "libxslt.so": "libxslt1.1",
    "libzbar.so": "libzbar0",
    "libzmq.so": "libzmq5",
}
# Parts of NVIDIA's driver and of CUDA: no package of the image brings them.
_CUDA = re.compile(r"lib(cuda|cudart|cudnn|cublas|cufft|curand|cusolver|cusparse|nccl|nvidia|nvrtc|nvinfer)\w*\.so")
_PROGRAMS = {
    "convert": "imagemagick",
    "dot": "graphviz",
    "espeak": "espeak",
    "exiftool": "libimage-exiftool-perl",
    "ffmpeg": "ffmpeg",
    "ffprobe": "ffmpeg",
    "g++": "g++",
    "gcc": "gcc",
    "git": "git",
    "gs": "ghostscript",
    "java": "default-jre-headless",
    "libreoffice": "libreoffice",
    "magick": "imagemagick",
    "node": "nodejs",
    "pandoc": "pandoc",
    "pdfinfo": "poppler-utils",
    "pdftoppm": "poppler-utils",
    "pdftotext": "poppler-utils",
    "soffice": "libreoffice",
    "sox": "sox",
    "tesseract": "tesseract-ocr",
    "wkhtmltopdf": "wkhtmltopdf",
}

_NO_LIBRARY = re.compile(r"([\w.+-]+\.so[\w.]*): cannot open shared object file: No such file")
_NO_PROGRAM = re.compile(r"No such file or directory: '([\w.+-]+)'")
# Libraries that look by themselves, and say it in words of their own.
_SAID = {
    "libmagic": re.compile(r"failed to find libmagic", re.IGNORECASE),
    "libportaudio": re.compile(r"PortAudio library not found"),
    "libsndfile": re.compile(r"sndfile library not found|cannot load library '?libsndfile"),
    "libzbar": re.compile(r"Unable to find zbar shared library", re.IGNORECASE),
    "libodbc": re.compile(r"Can't open lib '.*' : file not found"),
    "ffmpeg": re.compile(r"[Ff]fmpeg (was )?not found|Couldn't find ffmpeg"),
    "tesseract": re.compile(r"tesseract is not installed or it's not in your PATH"),
    "pdfinfo": re.compile(r"Unable to get page count. Is poppler installed"),
    "dot": re.compile(r"failed to execute .*'dot'.*make sure the Graphviz executables"),
    "java": re.compile(r"JAVA_HOME is not set|Unable to find [Jj]ava|No JVM shared library file"),
}
_LINE = "apt-get update && apt-get install -y --no-install-recommends"
_SEARCH = "https://packages.debian.org/search?searchon=contents&keywords="


def missing_program(error: str) -> tuple[str, str] | None:
    """A library or program that the error says is not there, and its package (empty where it is not known)."""
    if match := _NO_LIBRARY.search(error):
        return match[1], _LIBRARIES.get(match[1].partition(".so")[0] + ".so", "")
    for name, said in _SAID.items():
        if said.search(error):
            return name, _PROGRAMS.get(name) or _LIBRARIES[f"{name}.so"]
    if (match := _NO_PROGRAM.search(error)) and match[1] in _PROGRAMS:
        return match[1], _PROGRAMS[match[1]]
    return None


def is_of_the_gpu(name: str) -> bool:
    """Whether it belongs to CUDA or NVIDIA's driver."""
    return bool(_CUDA.match(name))


def in_the_image(name: str, package: str) -> str:
    """How the image gets it."""
    wanted = package or f"the package with it, which {_SEARCH}{name} finds"
    if not package:
        return f'{name} is not in the image: add {wanted} to requirements.sh, as "{_LINE} PACKAGE"'
    return f'{name} is not in the image: add "{_LINE} {package}" to requirements.sh'


def on_this_machine(name: str, package: str) -> str:
    """How this machine gets it, and later the image."""
    if not package:
        wanted = f"the package with it, which {_SEARCH}{name} finds"
        return f"{name} is not on this machine: install {wanted}, and add it to requirements.sh"
    return (
        f"{name} is not on this machine: sudo apt install {package} "
        "(containers get it by a line in requirements.sh: apt-get install -y " + package + ")"
    )
