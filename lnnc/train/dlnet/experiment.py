"""The paper's experiment, from its teacher to pruned students in int8, on its own data and by its own protocol.

Stages: teachers; students of every width and loss, and beside each one trained from scratch; the Pareto front's
students pruned by 10 ... 90 %, recovered, and beside each a rival from scratch with as many steps; every network's
integers. Each network is trained once and kept (`shelf`), so a run that was interrupted goes on where it was.

What differs from the paper: the last weights are taken, not those that were best on the test segments; the paper does
not give its learning rates and number of epochs, and its rank of pruned neurons, so those are ours (`Plan`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from lnnc.frontend.import_dlnet import infer_architecture
from lnnc.train.dlnet.measure import count, finish, float_error, front, record_of
from lnnc.train.dlnet.networks import DLNet, Shape, build, from_tensors, student_shape, to_tensors
from lnnc.train.dlnet.plan import Bench, Record
from lnnc.train.dlnet.shelf import Job, Kept, train_jobs
from lnnc.train.dlnet.stack import Lesson
from lnnc.train.learn.distill import ALONE, Distillation, Examples, teach
from lnnc.train.learn.neurons import dlnet_neurons
from lnnc.train.learn.prune import prune

WHOLE_LAYERS = ("encoder.0", "encoder.4")  # the published files are pruned in the decoder's hidden layers alone
Said = Callable[[Sequence[Record]], None]


def teachers(bench: Bench) -> dict[int, Kept]:
    """One for each seed; their forecasts are then there for the students."""
    jobs = [_job(bench, "teacher", build(Shape(), seed), seed, ALONE, bench.plan.teacher_steps, bench.plan.teacher_lr)
            for seed in bench.plan.seeds]  # fmt: skip
    kept = dict(zip(bench.plan.seeds, train_jobs(jobs, bench.shelf, partial(finish, bench), bench.show), strict=True))
    for seed, teacher in kept.items():
        bench.taught[seed] = teach([teacher.network()], bench.splits[seed].inputs)
    return kept


def students(bench: Bench, teacher: Mapping[int, Kept]) -> list[Kept]:
    """Every width, taught with every loss and not at all, for every seed."""
    plan = bench.plan
    jobs = []
    for hidden in plan.widths:
        for seed in plan.seeds:
            start = build(student_shape(hidden), 100 + seed)
            for loss in plan.losses:
                config = Distillation(loss)
                jobs.append(_job(bench, "distilled", start, seed, config, plan.student_steps, plan.student_lr,
                                 by=teacher[seed].key))  # fmt: skip
            jobs.append(_job(bench, "scratch", start, seed, ALONE, plan.student_steps, plan.student_lr))
    return train_jobs(jobs, bench.shelf, partial(finish, bench), bench.show)


@dataclass(frozen=True, eq=False)
class Cut:
    """A pruned student before recovery."""

    model: DLNet
    percent: int
    origin: Kept

    def record(self, bench: Bench) -> Record:
        """Its figures, without integers: it is nothing to deploy."""
        figures = self.origin.figures
        split = bench.splits[int(figures["seed"])]
        error = float_error(self.model, split.scaler, bench.material)
        return Record("cut", int(figures["hidden"]), str(figures["loss"]), self.percent, split.seed,
                      count(self.model), int(figures["steps"]), 0, error, float("nan"), float("nan"))  # fmt: skip


def cuts(bench: Bench, chosen: Sequence[Kept]) -> list[Cut]:
    """Each student at every percentage."""
    return [Cut(pruned(student.network(), percent), percent, student)
            for student in chosen for percent in bench.plan.percents]  # fmt: skip


def pruned(model: DLNet, percent: int) -> DLNet:
    """A student without its least important hidden neurons of the decoder, globally ranked by l2 norm."""
    tensors, shape = to_tensors(model), model.shape
    arch = infer_architecture(tensors, "student", shape.dt, shape.steps, 1, "window")
    smaller = prune(tensors, dlnet_neurons(arch, tensors), percent / 100, keep=WHOLE_LAYERS)
    return from_tensors(smaller.tensors, shape.steps, shape.dt)


def recovered(bench: Bench, pruned_ones: Sequence[Cut], teacher: Mapping[int, Kept]) -> list[Kept]:
    """The cut students after distillation, 20 epochs in the paper."""
    jobs = []
    for cut in pruned_ones:
        seed, loss = int(cut.origin.figures["seed"]), str(cut.origin.figures["loss"])
        jobs.append(_job(bench, "recovered", cut.model, seed, Distillation(loss), bench.recovery_steps,
                         bench.plan.recovery_lr, by=teacher[seed].key, percent=cut.percent,
                         spent=bench.plan.student_steps))  # fmt: skip
    return train_jobs(jobs, bench.shelf, partial(finish, bench), bench.show)


def rivals(bench: Bench, pruned_ones: Sequence[Cut]) -> list[Kept]:
    """The cut students' shapes, trained from scratch on the truth for as many steps as those have seen in all."""
    steps = bench.plan.student_steps + bench.recovery_steps
    jobs = [_job(bench, "rival", build(cut.model.shape, 200 + int(cut.origin.figures["seed"])),
                 int(cut.origin.figures["seed"]), ALONE, steps, bench.plan.student_lr, percent=cut.percent,
                 beside=str(cut.origin.figures["loss"]))
            for cut in pruned_ones]  # fmt: skip
    return train_jobs(jobs, bench.shelf, partial(finish, bench), bench.show)


def _job(
    bench: Bench, stage: str, start: DLNet, seed: int, config: Distillation, steps: int, peak_lr: float, *,
    by: str = "", percent: int = 0, spent: int = 0, beside: str = "",
) -> Job:  # fmt: skip
    loss = "" if config.alone else config.divergence
    hidden = start.shape.hidden
    parts = [stage, f"h {hidden}", loss or beside, f"pruned {percent} %" if percent else "", f"seed {seed}"]
    split = bench.splits[seed]

    def lesson() -> Lesson:
        taught = None if config.alone else bench.taught[seed]
        return Lesson(Examples(split.inputs, split.truth, taught), config, seed)

    origin = {"data": bench.digest, "split": f"random {seed}", "teacher": by, "stage": stage, "beside": beside}
    notes = {"stage": stage, "hidden": hidden, "loss": loss or beside, "percent": percent, "seed": seed, "spent": spent}
    return Job(" ".join(filter(None, parts)), start, config, steps, peak_lr, bench.plan.batch, seed, origin, lesson,
               notes)  # fmt: skip


def to_prune(bench: Bench, kept: Sequence[Kept]) -> list[Kept]:
    """The front's students of every seed, and the better ones of the widths that are always pruned."""
    records = [record_of(one) for one in kept]
    chosen = set(front(records))
    for hidden in set(bench.plan.always) & set(bench.plan.widths) - {at[0] for at in chosen}:
        own = [record for record in records if record.hidden == hidden]
        chosen |= set(front(own))
    return [one for one in kept if one.figures["stage"] == "distilled"
            and (one.figures["hidden"], one.figures["loss"]) in chosen]  # fmt: skip


def reproduce(bench: Bench, after: Said) -> list[Record]:
    """All stages; `after` is told what there is so far at the end of each."""
    records: list[Record] = []

    def add(more: Sequence[Record]) -> None:
        records.extend(more)
        after(records)

    teacher = teachers(bench)
    add([record_of(kept) for kept in teacher.values()])
    taught = students(bench, teacher)
    add([record_of(kept) for kept in taught])
    smaller = cuts(bench, to_prune(bench, taught))
    add([cut.record(bench) for cut in smaller])
    add([record_of(kept) for kept in recovered(bench, smaller, teacher)])
    add([record_of(kept) for kept in rivals(bench, smaller)])
    return records
