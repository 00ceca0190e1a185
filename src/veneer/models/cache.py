"""A key-value cache that grows in place: transformers' own makes a new copy of all it holds for every token."""

from typing import Any

from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers.cache_utils import DynamicCache, DynamicLayer, LinearAttentionCacheLayerMixin

SPARE = 128
"""Columns of room that are made ahead."""


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values, at the head of tensors with room to spare."""

    keys: Tensor
    values: Tensor
    rooms: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Take the keys and values of new tokens, and return all; the shapes are (rows, heads, tokens, width)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        rooms = self.rooms or (self.keys, self.values)
        keys, self.keys = _put(rooms[0], self.keys, key_states)
        values, self.values = _put(rooms[1], self.values, value_states)
        self.rooms = keys, values
        return self.keys, self.values


def forward(network: Any, **inputs: Any) -> Any:
    """Return what a model makes of inputs, by any attention but cuDNN's.

    That one plans anew for every length it meets, which takes a GPU longer than a step of a model of 7B weights.
    """
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
        return network(**inputs)


def cache_of(network: Any) -> DynamicCache:
    """Return an empty cache for a model: one that grows in place where all its layers keep every token."""
    cache = DynamicCache(config=network.config)
    if keeps_every_token(network):
        cache.layers = [GrowingLayer() for _ in cache.layers]
    return cache


def keeps_every_token(network: Any) -> bool:
    """Return whether a model's cache holds every token's keys and values, so that rows can join and leave it."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=network.config).layers)


def sums_up(network: Any, cache: DynamicCache) -> bool:
    """Return whether a model sums up what came before: padding would enter the sum, and nothing can be taken back."""
    return bool(getattr(network, "_is_stateful", False)) or any(
        isinstance(layer, LinearAttentionCacheLayerMixin) for layer in cache.layers
    )


def _put(room: Tensor, held: Tensor, fresh: Tensor) -> tuple[Tensor, Tensor]:
    """Return the room that holds what is held and what is fresh, and the part of it that does."""
    have = held.shape[-2] if held.numel() else 0
    need = have + fresh.shape[-2]
    if not have or not _heads(held, room) or need > room.shape[-2]:
        room = fresh.new_empty((*fresh.shape[:2], need + SPARE, fresh.shape[-1]))
        if have:
            room[:, :, :have] = held
    room[:, :, have:need] = fresh
    return room, room[:, :, :need]


def _heads(held: Tensor, room: Tensor) -> bool:
    """Return whether what is held lies at the room's head: a cache that was cut, or whose rows changed, may not."""
    return (
        held.dim() == room.dim()
        and held.shape[:2] == room.shape[:2]
        and held.data_ptr() == room.data_ptr()
        and held.stride() == room.stride()
    )
