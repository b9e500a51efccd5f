"""`PlanningProblem`: who could get what, what it is worth, and what the population may use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_count, check_shape
from homing.errors import InvalidInputError, describe, unknown_name
from homing.planning.limits import Budget, Floor, Limit, Selection, distinct

L = TypeVar("L", bound=Limit)

_SORT = "Sort the candidates by user; a stable sort keeps their order within each user."


@dataclass(frozen=True, eq=False)
class UserOffsets:
    """Where each user's candidates begin: those of user u are rows `offsets[u]` to `offsets[u + 1]`.

    The compact form, which also holds users without candidates.

    Attributes:
        offsets: (users + 1,) int64, from 0, never falling.
        ids: (users,) ids for people to read; None numbers them.

    Example:
        >>> UserOffsets([0, 2, 2, 3]).offsets.tolist()  # the second user has no candidates
        [0, 2, 2, 3]
    """

    offsets: NDArray[np.int64]
    ids: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        offsets = np.ascontiguousarray(check_shape("offsets", self.offsets, (None,)), dtype=np.int64)
        if not len(offsets) or offsets[0] != 0:
            raise InvalidInputError(describe("offsets", offsets[:3].tolist(), "must begin with 0"))
        falls = np.flatnonzero(offsets[1:] < offsets[:-1])
        if len(falls):
            row = int(falls[0]) + 1
            raise InvalidInputError(describe(f"offsets[{row}]", int(offsets[row]), "must not be less than before"))
        if self.ids is not None:
            object.__setattr__(self, "ids", check_shape("ids", self.ids, (len(offsets) - 1,)))
        object.__setattr__(self, "offsets", offsets)


@dataclass(frozen=True, eq=False)
class PlanningProblem:
    """Candidates in columns, user by user, with the limits that a plan keeps.

    A plan chooses rows x ∈ {0, 1} to maximise Σ value · x such that every budget and floor holds over the population,
    and of each user's rows at most `max_per_user` are chosen, hours at least `min_gap_hours` apart, and at most one of
    each value of every `exclusive` column. Silence is always possible and is worth 0, so values are *over silence*.

    Wrong to use with values that are probabilities of a click: a plan sends whatever is above 0 and affordable.

    Attributes:
        user: (N,) user of each candidate, sorted (integers or text), or `UserOffsets`.
        value: (N,) float32, worth over silence; may be negative.
        codes: column → (N,) integers >= 0: "channel", "campaign", "hour", "domain", whatever limits and caps speak of.
        costs: column → (N,) float32 >= 0: "opt_outs", "money".
        budgets: what may be used at most.
        floors: what must be delivered at least; one on what a budget counts is named `NAME (floor)`.
        max_per_user: how many candidates of a user may be chosen.
        segments: column → (users,) integers >= 0, codes of the user; limits name them as they name `codes`.
        names: column → names of its codes 0, 1, …: limits may then use the names, and a code beyond them is an error.
        min_gap_hours: chosen candidates of a user are at least so far apart in `codes["hour"]`.
        exclusive: code columns of which a user gets each value at most once, ("campaign",) say.
        priorities: classes of candidates, each as a limit's `where`, `[{"campaign": "security"}, {"tier": "gold"}]`:
            the value of the first class is not given up for the next, and so on. What matches several belongs to the
            first of them, what matches none comes last.

    Raises:
        InvalidInputError: naming the row, if a value or cost is not finite, a cost or code is negative, a code has no
            name, users are not sorted, a floor lies above its budget, or (where a user may get several) two candidates
            of a user are the same.
        UnknownNameError: if a limit names a column or code that is not there.

    Example:
        >>> problem = PlanningProblem(
        ...     user=[0, 0, 1, 1],
        ...     value=[0.5, 0.4, 0.3, 0.1],
        ...     codes={"channel": [0, 1, 0, 1]},
        ...     budgets=[Budget(1, {"channel": "push"})],
        ...     names={"channel": ["push", "email"]},
        ... )
        >>> problem.n_users, problem.n_candidates
        (2, 4)
        >>> PlanningProblem(user=[0, 1], value=[0.5, float("nan")])
        Traceback (most recent call last):
        homing.errors.InvalidInputError: value[1] == nan, must be finite. ...
    """

    user: Any
    value: NDArray[np.float32]
    codes: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    costs: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    budgets: Sequence[Budget] = ()
    floors: Sequence[Floor] = ()
    max_per_user: int = 1
    segments: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    min_gap_hours: int = 0
    exclusive: Sequence[str] = ()
    priorities: Sequence[Mapping[str, Selection]] = ()
    offsets: NDArray[np.int64] = field(init=False, repr=False)
    #: What `lay_out` makes of all but the values, once for all problems that share the rest.
    laid_out: dict[str, Any] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        put("value", _reals("value", self.value, None, -1.0))
        n = len(self.value)
        put("offsets", _offsets(self.user, n))
        both = sorted(set(self.codes) & set(self.segments))
        if both:
            raise InvalidInputError(describe("segments", both[0], "must not be the name of a code too", "Rename it."))
        put("names", {column: tuple(map(str, labels)) for column, labels in self.names.items()})
        put("codes", {key: self._codes("codes", key, column, n) for key, column in self.codes.items()})
        put("segments", {key: self._codes("segments", key, col, self.n_users) for key, col in self.segments.items()})
        put("costs", {key: _reals(f"costs[{key!r}]", column, n, 0.0) for key, column in self.costs.items()})
        put("budgets", _limits("budgets", self.budgets, Budget))
        put("floors", distinct(self.budgets, _limits("floors", self.floors, Floor)))
        put("exclusive", (self.exclusive,) if isinstance(self.exclusive, str) else tuple(self.exclusive))
        put("max_per_user", check_count("max_per_user", self.max_per_user, least=0))
        if not 1 <= self.max_per_user <= 64:
            raise InvalidInputError(describe("max_per_user", self.max_per_user, "must be in 1 … 64"))
        put("min_gap_hours", check_count("min_gap_hours", self.min_gap_hours, least=0))
        if self.min_gap_hours >= 2**31:
            raise InvalidInputError(describe("min_gap_hours", self.min_gap_hours, "must be < 2**31"))
        for column in (*self.exclusive, *(["hour"] if self.min_gap_hours else [])):
            if column not in self.codes:
                raise unknown_name("code column", column, self.codes, "Add it to codes.")
        if self.min_gap_hours:
            self._check_hours()
        put("priorities", tuple(dict(where) for where in self.priorities))
        self._check_limits()
        self._check_priorities()
        if self.max_per_user > 1 and not self.exclusive and not self.min_gap_hours:
            self._check_twins()

    @classmethod
    def from_table(
        cls,
        table: Any,
        *,
        user: str = "user_id",
        value: str = "value",
        codes: Sequence[str] = (),
        costs: Sequence[str] = (),
        segments: Sequence[str] = (),
        **limits: Any,
    ) -> PlanningProblem:
        """From candidates as rows of an Arrow table, a Polars frame, or what else speaks Arrow's C stream.

        Rows of the table are the problem's candidates: `table.take(plan.chosen)` says who gets what. Text columns
        become codes with their `names`. Of a decision log `opportunities` makes such a table.

        Args:
            table: each user's rows stand together.
            user, value: names of columns.
            codes, costs, segments: names of columns; segments are the same in all of a user's rows.
            limits: `budgets`, `floors`, `max_per_user` and so on; see above.

        Raises:
            InvalidInputError, UnknownNameError: naming the row or the column.

        Example:
            >>> import pyarrow as pa
            >>> table = pa.table({"user_id": ["ann", "ann", "bob"], "value": [0.5, 0.4, 0.3],
            ...                   "channel": ["push", "email", "push"], "message_id": ["a", "b", "c"]})
            >>> problem = PlanningProblem.from_table(table, codes=["channel"], budgets=[Budget(1, {"channel": "push"})])
            >>> from homing.planning import solve
            >>> table.take(solve(problem).chosen).select(["user_id", "message_id"]).to_pylist()
            [{'user_id': 'ann', 'message_id': 'b'}, {'user_id': 'bob', 'message_id': 'c'}]
        """
        from homing.planning.tables import problem_from_table

        return problem_from_table(table, user=user, value=value, codes=codes, costs=costs, segments=segments, **limits)

    def revalued(self, value: ArrayLike) -> PlanningProblem:
        """The same candidates and limits with other values: yesterday's problem today.

        Only values are checked, and what a solver makes of the rest is made once: with a warm start it takes
        about half of the time.

        Args:
            value: (N,) worth over silence.

        Raises:
            InvalidInputError: naming the row, if a value is not finite.

        Example:
            >>> problem = PlanningProblem(user=[0, 0], value=[0.5, 0.4])
            >>> problem.revalued([0.1, 0.4]).value.tolist()
            [0.10000000149011612, 0.4000000059604645]
            >>> problem.revalued([0.1])
            Traceback (most recent call last):
            homing.errors.InvalidInputError: value.shape == (1,), must be (2).
        """
        out = copy(self)
        object.__setattr__(out, "value", _reals("value", value, self.n_candidates, -1.0))
        if self.max_per_user > 1 and not self.exclusive and not self.min_gap_hours:
            out._check_twins()
        return out

    @property
    def n_users(self) -> int:
        """Number of users, with or without candidates."""
        return len(self.offsets) - 1

    @property
    def n_candidates(self) -> int:
        """Number of candidates over all users."""
        return len(self.value)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Budgets, then floors: the order of a plan's `prices` and `usage`."""
        return (*self.budgets, *self.floors)

    @cached_property
    def nbytes(self) -> int:
        """Bytes of all candidate columns: what one read of the problem costs."""
        columns: list[NDArray[Any]] = [
            self.offsets,
            self.value,
            *self.codes.values(),
            *self.segments.values(),
            *self.costs.values(),
        ]
        return sum(column.nbytes for column in columns)

    def user_of(self, rows: ArrayLike) -> NDArray[np.int64]:
        """Index of the user of each candidate row."""
        out: NDArray[np.int64] = np.searchsorted(self.offsets, np.asarray(rows, dtype=np.int64), side="right") - 1
        return out

    def selected(self, limit: Limit) -> dict[str, tuple[int, ...]]:
        """Codes that a limit counts, by column.

        Raises:
            UnknownNameError: if a column or a name is not there.
        """
        return {column: self._selection(limit, column, chosen) for column, chosen in limit.where.items()}

    def _selection(self, limit: Limit, column: str, chosen: Any) -> tuple[int, ...]:
        if column not in self.codes and column not in self.segments:
            raise unknown_name(f"column of limit {limit.label!r}", column, (*self.codes, *self.segments))
        labels = self.names.get(column)
        out = []
        for item in (chosen,) if isinstance(chosen, int | np.integer | str) else tuple(chosen):
            if isinstance(item, str):
                if labels is None or item not in labels:
                    hint = "" if labels else f"Pass names={{{column!r}: […]}} to use names."
                    raise unknown_name(f"{column} of limit {limit.label!r}", item, labels or (), hint)
                out.append(labels.index(item))
                continue
            top = len(labels) if labels else 2**31
            if not 0 <= item < top:
                where = f"{column} of limit {limit.label!r}"
                raise InvalidInputError(describe(where, int(item), f"must be in 0 … {top - 1}"))
            out.append(int(item))
        if not out:
            raise InvalidInputError(describe(f"{column} of limit {limit.label!r}", chosen, "must name a code"))
        return tuple(sorted(set(out)))

    def _codes(self, group: str, key: str, column: ArrayLike, length: int) -> NDArray[Any]:
        out: NDArray[Any] = check_shape(f"{group}[{key!r}]", column, (length,))
        name = f"{group}[{key!r}]"
        if out.dtype.kind not in "iu" and length:
            raise InvalidInputError(describe(f"{name}.dtype", str(out.dtype), "must be an integer type"))
        labels = self.names.get(key)
        low, high = (int(out.min()), int(out.max())) if length and (labels or out.dtype.kind == "i") else (0, 0)
        top = len(labels) - 1 if labels else 2**31 - 1
        if low < 0 or high > top:
            row = int(np.flatnonzero((out < 0) | (out > top))[0])
            raise InvalidInputError(describe(f"{name}[{row}]", int(out[row]), f"must be in 0 … {top}"))
        small = out if out.dtype in (np.uint8, np.uint16, np.uint32) else out.astype(np.uint32)
        return np.ascontiguousarray(small)

    def _check_hours(self) -> None:
        """Hours apart are told by the codes: names in another order or with others between would not be heard."""
        for code, label in enumerate(self.names.get("hour", ())):
            if label != str(code):
                bound = f"must be {str(code)!r}: codes are the hours that min_gap_hours counts between"
                step = "Give hours as whole numbers."
                raise InvalidInputError(describe(f"names['hour'][{code}]", label, bound, step))

    def _check_limits(self) -> None:
        seen: dict[str, int] = {}
        for limit in self.limits:
            self.selected(limit)
            if limit.cost is not None and limit.cost not in self.costs:
                raise unknown_name(f"cost of limit {limit.label!r}", limit.cost, self.costs)
            key = f"{type(limit).__name__} {limit.label}"
            if key in seen:
                raise InvalidInputError(describe("limit", limit.label, "must be given once", "Name or remove one."))
            seen[key] = 1
        ceilings = {_counted(self, budget): budget for budget in self.budgets}
        for floor in self.floors:
            ceiling = ceilings.get(_counted(self, floor))
            if ceiling is not None and floor.limit > ceiling.limit:
                bound = f"must be <= {ceiling.limit}, the budget of the same"
                raise InvalidInputError(
                    describe(f"floor {floor.label!r}", floor.limit, bound, "Lower the floor or raise the budget.")
                )

    def _check_priorities(self) -> None:
        if len(self.priorities) > 100:
            raise InvalidInputError(describe("len(priorities)", len(self.priorities), "must be <= 100"))
        for i, where in enumerate(self.priorities):
            if not where:
                raise InvalidInputError(
                    describe(f"priorities[{i}]", where, "must name a column", "Leave out the last.")
                )
            self.selected(Limit(0, where, name=f"priorities[{i}]"))

    def _check_twins(self) -> None:
        from homing.planning.scanning import first_twin

        n = self.n_candidates
        codes = np.stack([c.astype(np.uint32) for c in self.codes.values()]) if self.codes else np.empty((0, n), "u4")
        row = first_twin(self.offsets, self.value, codes, stacked(self.costs, n))
        if row >= 0:
            raise InvalidInputError(
                describe(
                    f"candidate {row}",
                    f"user {int(self.user_of(row))}",
                    "must differ from that user's other candidates where a user may get several",
                    "Drop it, or add a code that tells the two apart.",
                )
            )


def derived(problem: PlanningProblem, **changes: Any) -> PlanningProblem:
    """The same problem with other columns or limits, of the kinds that checks make of them: nothing is checked anew.

    What a solver computes with need not be what a user may give: values after prices, rounded, may be the same for two
    of a user's candidates, and a floor may lie above a budget that is tried.

    Args:
        problem: what is changed.
        changes: fields; `user` as `UserOffsets`.

    Example:
        >>> problem = PlanningProblem(user=[0, 0], value=[0.5, 0.4], max_per_user=2)
        >>> derived(problem, value=np.zeros(2, dtype=np.float32)).value.tolist()
        [0.0, 0.0]
    """
    out = copy(problem)
    for name, value in changes.items():
        object.__setattr__(out, name, value)
    if "user" in changes:
        object.__setattr__(out, "offsets", changes["user"].offsets)
    if set(changes) != {"value"}:
        object.__setattr__(out, "laid_out", {})
        out.__dict__.pop("nbytes", None)
    return out


def stacked(columns: Mapping[str, NDArray[np.float32]], length: int) -> NDArray[np.float32]:
    """Columns as rows of one array (K, N); a view where there is one."""
    arrays = list(columns.values())
    if len(arrays) == 1:
        return arrays[0].reshape(1, -1)
    return np.stack(arrays) if arrays else np.empty((0, length), dtype=np.float32)


def _counted(problem: PlanningProblem, limit: Limit) -> tuple[Any, ...]:
    return limit.cost, tuple(sorted(problem.selected(limit).items()))


def _offsets(user: Any, n: int) -> NDArray[np.int64]:
    from homing.planning.scanning import count_users, fill_offsets

    if isinstance(user, UserOffsets):
        if user.offsets[-1] != n:
            raise InvalidInputError(describe("offsets[-1]", int(user.offsets[-1]), f"must be {n}, the candidates"))
        return user.offsets
    ids = np.ascontiguousarray(check_shape("user", user, (n,)))
    if ids.dtype.kind not in "iu":  # text and dates compare in NumPy
        steps = ids[1:] != ids[:-1]
        falls = np.flatnonzero(ids[1:] < ids[:-1])
        if len(falls):
            raise InvalidInputError(describe(f"user[{falls[0] + 1}]", str(ids[falls[0] + 1]), "must be sorted", _SORT))
        return np.concatenate([[0] if n else [], np.flatnonzero(steps) + 1, [n]]).astype(np.int64)
    users = count_users(ids)
    if users < 0:
        row = -1 - users
        raise InvalidInputError(describe(f"user[{row}]", int(ids[row]), f"must be >= {ids[row - 1]}", _SORT))
    offsets = np.empty(users + 1, dtype=np.int64)
    fill_offsets(ids, offsets)
    return offsets


def _limits(name: str, given: object, kind: type[L]) -> tuple[L, ...]:
    if not isinstance(given, Iterable):
        raise InvalidInputError(describe(name, given, f"must be a list of {kind.__name__}"))
    out = tuple(given)
    for i, item in enumerate(out):
        if not isinstance(item, kind):
            raise InvalidInputError(describe(f"{name}[{i}]", item, f"must be a {kind.__name__}"))
    return out


def _reals(name: str, column: ArrayLike, length: int | None, low: float) -> NDArray[np.float32]:
    from homing.planning.scanning import LARGEST, all_within

    given = check_shape(name, column, (length,))
    if given.dtype.kind not in "biuf" and given.size:
        raise InvalidInputError(describe(f"{name}.dtype", str(given.dtype), "must be numbers"))
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and named below
        out = np.ascontiguousarray(given, dtype=np.float32)
    least = np.float32(0.0) if low == 0.0 else -LARGEST
    if not all_within(out, least, LARGEST):
        row = int(np.flatnonzero(~((out >= least) & (out <= LARGEST)))[0])
        bound = "must be finite" if low else "must be finite and >= 0"
        raise InvalidInputError(
            describe(f"{name}[{row}]", float(given[row]), bound, "Leave candidates out that cannot be scored.")
        )
    return out
