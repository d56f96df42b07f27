"""An import-linter contract: the members of an open-ended folder do not know each other.

Members are the modules that the folder's ``catalog`` imports from its own folder, so a new member needs no line here.
"""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

from importlinter import Contract, ContractCheck, fields, output

if TYPE_CHECKING:
    from grimp import ImportGraph


class SiblingsContract(Contract):
    """``catalogs``: their modules. ``shared``: modules beside the members that all may know, such as their protocol."""

    type_name = "siblings"

    catalogs: Any = fields.ListField(subfield=fields.StringField())
    shared: Any = fields.ListField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002, FBT001 (import-linter's signature)
        """Look for a chain of imports from each member to each of its siblings."""
        chains = []
        for catalog in self.catalogs:
            package = catalog.rpartition(".")[0]
            beside = graph.find_modules_directly_imported_by(catalog) if catalog in graph.modules else set()
            members = sorted(module for module in beside - set(self.shared or ()) if module.rpartition(".")[0] == package)
            chains += [chain for pair in permutations(members, 2) if (chain := graph.find_shortest_chain(*pair))]
        return ContractCheck(kept=not chains, metadata={"chains": chains})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each chain."""
        for chain in check.metadata["chains"]:
            output.print_error(" -> ".join(chain))
