"""sseclient and sseclient-py are both named sseclient; this loads one by its file."""

import importlib.util, sysconfig


def module(file):
    path = sysconfig.get_paths()["purelib"] + "/" + file
    spec = importlib.util.spec_from_file_location("sseclient", path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded
