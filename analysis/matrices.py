"""Put dissimilarity matrices side by side: same identities, same order."""

from collections.abc import Sequence

import numpy as np
from rsatoolbox.rdm import RDMs


def stack(rdms: Sequence[RDMs]) -> RDMs:
    """Several sets of matrices as one, in the order given; identities in the order of the first.

    Unlike `rsatoolbox.rdm.concat` it keeps the descriptors of a single set, the order of the descriptors,
    and mixes dissimilarity measures (whose name is then None). A descriptor that a set lacks is None.

    Raises:
        ValueError: nothing to stack, or sets over different identities.
    """
    if not rdms:
        raise ValueError("no dissimilarity matrices to stack")
    identities = list(rdms[0].pattern_descriptors["identity"])
    for i, other in enumerate(rdms):
        differ = set(identities) ^ set(other.pattern_descriptors["identity"])
        if differ:
            raise ValueError(
                f"dissimilarity matrices 0 and {i} are over other items; they differ in {some(differ)}"
            )
    names = dict.fromkeys(name for r in rdms for name in r.rdm_descriptors if name != "index")
    measures = {r.dissimilarity_measure for r in rdms}
    first = in_order(rdms[0], identities)
    return RDMs(
        np.vstack([in_order(r, identities).get_vectors() for r in rdms]),
        dissimilarity_measure=measures.pop() if len(measures) == 1 else None,
        descriptors=dict(first.descriptors),
        rdm_descriptors={
            name: [v for r in rdms for v in r.rdm_descriptors.get(name, [None] * r.n_rdm)] for name in names
        },
        pattern_descriptors=first.pattern_descriptors,
    )


def match(models: RDMs, humans: RDMs) -> tuple[RDMs, RDMs]:
    """Both restricted to their common identities, in the same (alphabetical) order.

    Raises:
        ValueError: fewer than 4 identities in common.
    """
    ours, theirs = (list(r.pattern_descriptors["identity"]) for r in (models, humans))
    common = sorted(set(ours) & set(theirs))
    if len(common) < 4:
        raise ValueError(
            f"models ({len(ours)} identities, such as {ours[0]!r}) and humans ({len(theirs)}, such as "
            f"{theirs[0]!r}) have {len(common)} in common; at least 4 are needed. Map names with `names`"
        )
    return in_order(models, common), in_order(humans, common)


def in_order(rdms: RDMs, identities: Sequence[str]) -> RDMs:
    """The matrices restricted to `identities`, in that order."""
    have = list(rdms.pattern_descriptors["identity"])
    order = [have.index(identity) for identity in identities]
    return RDMs(
        rdms.get_matrices()[:, order][:, :, order],
        dissimilarity_measure=rdms.dissimilarity_measure,
        descriptors=rdms.descriptors,
        rdm_descriptors=rdms.rdm_descriptors,
        pattern_descriptors={
            name: [values[i] for i in order]
            for name, values in rdms.pattern_descriptors.items()
            if name != "index"
        },
    )


def some(things) -> str:
    """The first few of many things, for an error message; tuples are pairs."""
    things = [" – ".join(t) if isinstance(t, tuple) else str(t) for t in sorted(things)]
    shown = ", ".join(things[:5])
    return shown if len(things) <= 5 else f"{shown} and {len(things) - 5} more"
