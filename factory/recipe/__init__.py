"""Recipes: what is built from which base, how it is tested and where it may go.

:func:`load_recipe` gives a :class:`Recipe` or every fault at once; :func:`validate` only the faults, of many recipes.
The model is in :mod:`.model` (with :mod:`.steps` and :mod:`.assertions`), what values look like in :mod:`.kinds` and
:mod:`.words`, the rules across fields and files in :mod:`.rules`.
"""

from factory.recipe.assertions import CommandTest, HttpTest, PortTest, ServiceTest, Test
from factory.recipe.copying import Copied, copied
from factory.recipe.loading import find_recipe, load_recipe, recipe_names, validate
from factory.recipe.model import Checks, Machine, Recipe, Repository, Requirements, Variable
from factory.recipe.steps import CopyStep, PackagesStep, ShellStep, Step
from factory.recipe.template import fill

__all__ = [
    "Checks",
    "CommandTest",
    "Copied",
    "CopyStep",
    "HttpTest",
    "Machine",
    "PackagesStep",
    "PortTest",
    "Recipe",
    "Repository",
    "Requirements",
    "ServiceTest",
    "ShellStep",
    "Step",
    "Test",
    "Variable",
    "copied",
    "fill",
    "find_recipe",
    "load_recipe",
    "recipe_names",
    "validate",
]
