"""How Sphinx builds the documentation. Nothing is fetched: the build works without a network."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "engineroom"
author = "The engineroom maintainers"
project_copyright = author
release = version_of("engineroom")
version = ".".join(release.split(".")[:2])

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True
# Other projects' inventories would have to be fetched, so their names lead nowhere, and private ones of ours (a type
# variable in a signature) lead nowhere on purpose. Our public names must lead somewhere.
nitpick_ignore_regex = [("py:.*", r"(?!engineroom\b).*"), ("py:.*", r"engineroom\.(?:\w+\.)*(?:_.*|S)")]

autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"engineroom {version}"
