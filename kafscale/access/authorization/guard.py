"""
Serves requests as far as their clients have the rights that they need.

A service is given what its client may do and nothing else, so services know nothing of
rights: the L{Serving} of each API is replaced by one that asks first
(L{kafscale.access.authorization.needs} has what). What is refused is put back into the
response, at the place that it has in the request. Without an authorizer nothing is
replaced, and a request costs what it cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from functools import cache
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from kafscale.access.authorization.audit import MOST_NAMES, Audit
from kafscale.access.authorization.needs import Asked, Denied, Needs, Part, needs_of
from kafscale.access.authorization.permitted_topics import PermittedTopics
from kafscale.counts import DenialCounts
from kafscale.errors import KafkaError, code_of
from kafscale.format.acl import Operation, ResourceType
from kafscale.interfaces import (
    CLUSTER_NAME,
    IAuthorizer,
    IImage,
    IService,
    ITopicLookup,
    RequestContext,
    Serving,
    Settling,
)
from kafscale.wire.error_responses import element_response, empty_response
from kafscale.wire.first_error import first_error, struct_in
from kafscale.wire.messages import RESPONSES, FetchRequest
from kafscale.wire.schema import Declaration, Request


@attrs.define(eq=False)
class _Plan:
    """
    How what a part of a request lacks is put back into the response.

    @ivar refused: The parts of the response, by their places in the list.
    @ivar allowed: How many elements the service is given.
    @ivar inner: Plans for lists within these, by their places among them.
    @ivar filtered: The places among them whose inner list stands for all.
    """

    part: Part
    refused: list[tuple[int, Any]] = attrs.field(factory=list)
    allowed: int = 0
    inner: dict[int, _Plan] = attrs.field(factory=dict)
    filtered: list[int] = attrs.field(factory=list)

    @property
    def is_idle(self) -> bool:
        """
        Whether request and response stay as they are.
        """
        return not (self.refused or self.inner or self.filtered)


@cache
def _element(declaration: Declaration, field: str) -> Declaration:
    """
    The declaration of the elements of a list in a response.
    """
    (found,) = [struct_in(each.kind) for each in declaration.fields if each.name == field]
    assert found is not None
    return found


def _split(
    part: Part, source: Any, declaration: Declaration, asked: Asked
) -> tuple[list[Any] | None, _Plan]:
    """
    The elements of a list that the service is given; None if that is all. And what becomes
    of the others.

    @param source: The request, or the element with the list.
    @param declaration: Of the response, or of the part of it that belongs to the element.
    """
    plan = _Plan(part)
    elements: Sequence[Any] | None = getattr(source, part.request)
    if not elements:
        if elements is not None and part.everything is not None:
            visible = part.everything(asked)
            plan.allowed = len(visible)
            return visible, plan
        return None, plan
    made = _element(declaration, part.response)
    allowed: list[Any] = []
    for place, element in enumerate(elements):
        error = part.judge(asked, element)
        if error is not None:
            values = {"error_message": part.message(error), **part.values(asked, element)}
            response = element_response(made, element, asked.version, error.code, **values)
            plan.refused.append((place, response))
            continue
        if part.inner is not None:
            if getattr(element, part.inner.request) is None:
                plan.filtered.append(len(allowed))
            else:
                kept, inner = _split(part.inner, element, made, asked)
                if not inner.is_idle:
                    plan.inner[len(allowed)] = inner
                    element = _with(element, part.inner.request, kept)
        allowed.append(element)
    plan.allowed = len(allowed)
    return (None if plan.is_idle else allowed), plan


def _with(source: Any, field: str, value: Any) -> Any:
    changed = copy(source)
    setattr(changed, field, value)
    return changed


def _merge(plan: _Plan, response: Any, asked: Asked) -> None:
    """
    Put back into a response what the service was not given.
    """
    part = plan.part
    found = getattr(response, part.response)
    if part.inner is not None:
        for place in plan.filtered:
            whole = found[place]
            shown = [
                each
                for each in getattr(whole, part.inner.response)
                if part.inner.shows(asked, each)
            ]
            setattr(whole, part.inner.response, shown)
        for place, inner in plan.inner.items():
            _merge(inner, found[place], asked)
    if not plan.refused:
        return
    merged = list(found) if plan.allowed else []  # none would stand for all
    in_order = len(merged) == plan.allowed
    for place, refused in plan.refused:
        merged.insert(place if in_order else len(merged), refused)
    setattr(response, part.response, merged)


class Guard:
    """
    Makes services ask for rights.
    """

    def __init__(
        self,
        authorizer: IAuthorizer,
        image: IImage,
        creates: bool,
        seconds: Callable[[], float],
        counts: DenialCounts,
    ) -> None:
        """
        @param authorizer: Decides.
        @param image: Has the topics that exist.
        @param creates: Whether Metadata requests create topics.
        @param seconds: A monotonic clock.
        @param counts: Counts what is denied.
        """
        self._authorizer = authorizer
        self._image = image
        self._creates = creates
        self._audit = Audit(seconds, counts)

    def services(self, services: Iterable[IService]) -> list[IService]:
        """
        Services of the same APIs as these that ask first.
        """
        return [_Guarded(self, each) for each in services]

    def serving(self, serving: Serving) -> Serving:
        """
        One API of them.
        """
        needs = needs_of(serving.request)
        if needs.within:
            return serving

        def answer(request: Request, context: RequestContext) -> Any:
            return self._answer(serving, needs, request, context)

        return attrs.evolve(serving, answer=answer)

    def topics(self, request: FetchRequest, context: RequestContext) -> ITopicLookup:
        """
        The topics that the client of a Fetch request may read. A broker that reads from
        another one may read all; a client that only says that it is one may read none: a
        right on a topic, such as ALL, must not stand for that on the cluster.
        """
        rights = self._authorizer.rights(context.session.principal, context.host)

        lines = 0

        def denied(what: Denied) -> None:
            nonlocal lines  # a request may name a hundred thousand topics
            lines += self._audit.denied(FetchRequest, context, [what], lines < MOST_NAMES)

        if request.replica_id >= 0 or request.replica_state is not None:
            if rights.allows(Operation.CLUSTER_ACTION, ResourceType.CLUSTER, CLUSTER_NAME):
                return self._image
            return PermittedTopics(self._image, rights, denied, None)
        return PermittedTopics(self._image, rights, denied)

    # -- a request --------------------------------------------------------------

    def _answer(
        self, serving: Serving, needs: Needs, request: Request, context: RequestContext
    ) -> Any:
        rights = self._authorizer.rights(context.session.principal, context.host)
        asked = Asked(
            request, context.api_version, context.session, rights, self._image, self._creates
        )
        for refusal in needs.whole:
            error = refusal(asked)
            if error is not None:
                self._audit.denied(serving.request, context, asked.denied)
                raise error
        plans: list[_Plan] = []
        alone = False
        for part in needs.parts:
            elements, plan = _split(part, request, RESPONSES[serving.request.key], asked)
            if elements is not None:
                request = _with(request, part.request, elements)
                alone = alone or not (elements or needs.serves_none)
            if not plan.is_idle:
                plans.append(plan)
        if asked.denied:
            self._audit.denied(serving.request, context, asked.denied)
        if not (plans or needs.after or needs.changes):
            return serving.answer(request, context)
        if alone:
            empty: dict[str, Any] = {part.response: [] for part in needs.parts}
            answer: Any = empty_response(request, context.api_version, **empty)
            if getattr(request, "acks", None) == 0:
                answer = None
        else:
            answer = serving.answer(request, context)
        return self._finished(answer, serving, needs, plans, asked, context)

    def _finished(
        self,
        answer: Any,
        serving: Serving,
        needs: Needs,
        plans: Sequence[_Plan],
        asked: Asked,
        context: RequestContext,
    ) -> Any:
        if isinstance(answer, Settling):
            answer = answer.deferred()  # what was refused is put into its response
        if not isinstance(answer, Deferred):
            if not hasattr(answer, "send"):  # no coroutine
                return self._complete(answer, serving, needs, plans, asked, context)
            answer = Deferred.fromCoroutine(answer)
        answer.addErrback(self._failed, serving, needs, asked, context)
        return answer.addCallback(self._complete, serving, needs, plans, asked, context)

    def _failed(
        self,
        failure: Failure,
        serving: Serving,
        needs: Needs,
        asked: Asked,
        context: RequestContext,
    ) -> Failure:
        assert failure.value is not None
        self._audit.changed(serving, needs, asked, context, code_of(failure.value))
        return failure

    def _complete(
        self,
        response: Any,
        serving: Serving,
        needs: Needs,
        plans: Sequence[_Plan],
        asked: Asked,
        context: RequestContext,
    ) -> Any:
        """
        The response with what was refused, without what is hidden.

        @raise KafkaError: something was refused, and there is no response to say so.
        """
        if response is None:
            if plans:
                raise _error_of(plans[0])
            return None
        for hide in needs.after:
            hide(asked, response)
        for plan in plans:
            _merge(plan, response, asked)
        self._audit.changed(serving, needs, asked, context, first_error(response))
        return response


def _error_of(plan: _Plan) -> KafkaError:
    part = plan.part
    place, _ = plan.refused[0]
    return KafkaError(f"element {place} of {part.request} is refused")


@implementer(IService)
class _Guarded:
    """
    A service whose requests are guarded.
    """

    def __init__(self, guard: Guard, service: IService) -> None:
        self._guard = guard
        self._service = service

    def serves(self) -> list[Serving]:
        """
        The APIs of the service.
        """
        return [self._guard.serving(each) for each in self._service.serves()]
