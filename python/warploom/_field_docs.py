"""Docstrings of a TypedDict's fields, which Python itself drops, for help()."""

from __future__ import annotations

import ast
import inspect
import textwrap


def document_fields(*kinds: type) -> None:
    """Appends to each class's docstring what its source says of its fields; without the source it stays as it is."""
    for kind in kinds:
        try:
            body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        except (OSError, TypeError, SyntaxError):
            continue
        fields = []
        for field, doc in zip(getattr(body, "body", []), getattr(body, "body", [])[1:]):
            if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant):
                text = " ".join(str(doc.value.value).split())
                fields.append(f"{ast.unparse(field.target)}: {ast.unparse(field.annotation)}\n    {text}")
        if fields:
            kind.__doc__ = f"{inspect.cleandoc(kind.__doc__ or '')}\n\n" + "\n".join(fields)
