"""Analysis: questions about heads, blocks, tokens and objects, one file for each. Results are tensors, no pictures.

`vitreous.inspect` asks those about one image together; all can be asked one by one, of an open trace:

    import vitreous as vt
    from vitreous.analysis import head_numbers, head_roles

    with vit.trace(images) as trace:
        reach = head_numbers(trace).distance      # "b l h", in pixels
        roles = head_roles(trace).counts()

head_numbers           entropy, confidence, distance, prefix, self and sink mass of every head
head_numbers_by_rows   the same for models whose attention is too large to keep
head_offsets           attention by offset in the grid: does a head look at a fixed neighbour?
head_roles             local, global, positional, class-token reader, sink, self; `roles_of` over many batches
head_importance        slope of the score by each head's output (Michel et al. 2019)
head_ablation          what the score loses when each head is silent
head_agreement         whether heads agree where to look, within a block and between blocks; heads that do not
focus, track           where each block looks: centre, spread, overlap with an object, change from block to block
logit_lens             class evidence by block; `patch_evidence` by patch
cka                    how alike the representations of blocks, or of two models, are over a data set
layer_weights, aggregate, smooth   maps of many blocks made one, with stated weights
query_token            what a token attends to, and who attends to it
name_tokens, name_outliers, token_table   what each token is, its norm, the attention it gets
relate                 attention between objects; `relation_statistics`, `binding` over a data set
dependence             what the score loses without each object, held against random patches
collect_features, specialisation   which head carries which known factor
photo_changes, head_responses      how heads answer to photographs without colour, texture or background
read_priors, judge, judge_many     what an expert expects to matter, and how often maps disagree
"""

from vitreous.analysis.cka import Cka, CkaSums, cka, linear_cka
from vitreous.analysis.context import Dependence, dependence
from vitreous.analysis.focus import Focus, focus, track
from vitreous.analysis.head_ablation import head_ablation
from vitreous.analysis.head_agreement import HeadAgreement, OutlyingHead, agreement_of, head_agreement, outlying_heads
from vitreous.analysis.head_features import Features, collect_features, head_features, object_shares
from vitreous.analysis.head_importance import head_importance
from vitreous.analysis.head_numbers import HeadNumbers, head_numbers, head_numbers_by_rows
from vitreous.analysis.head_offsets import HeadOffsets, head_offsets
from vitreous.analysis.head_roles import HeadRoles, RoleMeasures, RoleThresholds, head_roles, role_measures, roles_of
from vitreous.analysis.layer_maps import aggregate, layer_weights, smooth
from vitreous.analysis.logit_lens import LogitLens, logit_lens, patch_evidence
from vitreous.analysis.object_binding import Binding, BindingStatistics, binding, binding_statistics
from vitreous.analysis.photo_changes import Responses, head_responses, photo_changes
from vitreous.analysis.prior_agreement import Finding, Violations, judge, judge_many
from vitreous.analysis.priors import Prior, Priors, priors_schema, read_priors
from vitreous.analysis.relation_statistics import RelationStatistics, relation_statistics
from vitreous.analysis.relations import Relations, box_masks, relate
from vitreous.analysis.specialisation import Specialisation, specialisation
from vitreous.analysis.token_query import (
    Outlier,
    TokenQuery,
    TokenTable,
    name_outliers,
    name_tokens,
    on_grid,
    query_token,
    token_table,
)

__all__ = [
    "Binding",
    "BindingStatistics",
    "Cka",
    "CkaSums",
    "Dependence",
    "Features",
    "Finding",
    "Focus",
    "HeadAgreement",
    "HeadNumbers",
    "HeadOffsets",
    "HeadRoles",
    "LogitLens",
    "Outlier",
    "OutlyingHead",
    "Prior",
    "Priors",
    "RelationStatistics",
    "Relations",
    "Responses",
    "RoleMeasures",
    "RoleThresholds",
    "Specialisation",
    "TokenQuery",
    "TokenTable",
    "Violations",
    "aggregate",
    "agreement_of",
    "binding",
    "binding_statistics",
    "box_masks",
    "cka",
    "collect_features",
    "dependence",
    "focus",
    "head_ablation",
    "head_agreement",
    "head_features",
    "head_importance",
    "head_numbers",
    "head_numbers_by_rows",
    "head_offsets",
    "head_responses",
    "head_roles",
    "judge",
    "judge_many",
    "layer_weights",
    "linear_cka",
    "logit_lens",
    "name_outliers",
    "name_tokens",
    "object_shares",
    "on_grid",
    "outlying_heads",
    "patch_evidence",
    "photo_changes",
    "priors_schema",
    "query_token",
    "read_priors",
    "relate",
    "relation_statistics",
    "role_measures",
    "roles_of",
    "smooth",
    "specialisation",
    "token_table",
    "track",
]
