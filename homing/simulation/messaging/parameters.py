"""The numbers of the messaging world, each with its unit; what they are calibrated to; switches for drift."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from homing.errors import InvalidInputError, describe, unknown_name
from homing.simulation.checks import check_number, check_numbers

#: Domain teams, each with a generator of opportunities.
DOMAINS = ("new_release", "podcast", "live_event", "audiobook", "premium_offer")
#: What each generator's value signal claims to be.
VALUE_UNITS = ("minutes listened", "percent clicks", "EUR commission", "hours listened", "EUR revenue")
CHANNELS = ("push", "email", "in_app")
#: How a message is written; the last one exists only when a new campaign starts (`Drift.new_campaign_day`).
CAMPAIGNS = ("announcement", "for_you", "teaser", "recap")
PLATFORMS = ("ios", "android")
#: Index of the generator that only free users have.
PREMIUM_OFFER = DOMAINS.index("premium_offer")
STEP_HOURS = 6.0
STEPS_A_DAY = 4
#: Steps that the features look back: 28 days.
WINDOW = 28 * STEPS_A_DAY


@dataclass(frozen=True)
class MessagingParameters:
    """All numbers of `MessagingWorld`; tuples are over platforms, domains, channels or campaigns, as named.

    Calibrated, under `behaviour_policy()`, to Airship's push benchmarks for 2025 (medians over apps): push is allowed
    by 49.4 % on iOS and 59.5 % on Android; 6 to 8 pushes a user and month in the median (8.3 and 6.4), about 150 at
    the 90th percentile (162 and 151). Those are figures over apps: here users differ as much, by the alerts of the
    sources that they follow. The repetition's form and half-life are those of Yancey and Settles (2020), "A Sleeping,
    Recovering Bandit Algorithm for Optimizing Recurring Notifications", KDD; habituation and disengagement move as in
    Karine and Marlin's StepCountJITAI (2025). Every other number is ours: plausible, and of no product.

    Probabilities are built on the logit scale: what is *added* there is called so. Relevance of an opportunity to a
    user is sigmoid(interest + quality_spread · quality), in (0, 1).

    Attributes:
        ios_share: of users.
        premium_share: of users, at the start.
        push_opt_in: by platform, at the start.
        email_opt_in: share of users, at the start.
        zone_hours: time zones, hours ahead of UTC.
        zone_shares: of users in each.
        sessions_per_day: median over users of the organic rate at habit 0.5.
        sessions_spread: standard deviation of its logarithm.
        clickiness_spread: standard deviation over users of what they add to every click, whatever they are shown.
        sensitivity_spread: standard deviation of the logarithm of how much annoys a user.
        interest_mean: by domain, mean over users of the logit of interest.
        interest_spread: standard deviation over users.
        affinity_noise: standard deviation of the recommender's error about interest, on the logit scale.
        timing_noise_hours: standard deviation of the product's error about a user's preferred hour.
        followed_sources: median number of artists and shows that a user follows.
        followed_spread: standard deviation of its logarithm.
        alerts_per_source_month: pushes a month that each source sends by itself, beside all decisions.
        arrivals_per_day: by domain, Poisson rate of opportunities of a user of mean affinity and activity.
        arrivals_spread: standard deviation over users of the logarithm of this rate.
        friday_factor: by domain, times the rate on Fridays (UTC); other days make up for it.
        life_hours: by domain, from arrival to expiry.
        quality_spread: standard deviation of opportunities of one domain for one user, on the logit of relevance.
        value_scale: by domain, value signal of an opportunity with relevance 1; units as in `VALUE_UNITS`.
        value_noise: by domain, standard deviation of the logarithm of the signal.
        overclaim: by domain, value claimed over value true, for relevance 1; 1 is honest. What is claimed too much
            hardly depends on relevance: see `opportunities.claim`.
        click_logit: by channel, of a message with relevance 0.5, to an average user at an average hour. For in-app,
            given that it was seen.
        click_per_relevance: added per unit of relevance above 0.5.
        click_per_activity: added per unit of the logarithm of the user's rate of sessions.
        click_timing: added at the preferred hour, subtracted twelve hours from it; push only.
        click_campaign: by campaign, added.
        click_fatigue: subtracted per unit of fatigue.
        click_habituation: subtracted at full habituation to the channel.
        click_repeat: subtracted when the user got the same template just now.
        repeat_half_life_days: with which that recovers.
        email_opened_logit: added to the logit of a click to get that of opening the e-mail.
        influence: sessions without a click that a push or e-mail causes, per click.
        intrusiveness: by channel, fatigue that a message adds.
        fatigue_half_life_hours: with which fatigue recovers.
        habituation_rise: by channel, share of the rest to full habituation that one message takes.
        habituation_alert: the same rise for an alert from a followed source.
        habituation_half_life_days: with which it recovers.
        annoyance: disengagement that a message with relevance 0 adds, per unit of intrusiveness.
        annoyance_fatigue: times that, added per unit of fatigue.
        annoyance_campaign: by campaign, times that.
        contentment: share of disengagement that a click on a message with relevance 1 takes away.
        disengagement_half_life_days: with which it recovers by itself.
        opt_out_logit: by channel, per message of relevance 0.5 to an average user; -inf where there is no opting out.
        opt_out_per_relevance: subtracted per unit of relevance above 0.5.
        opt_out_fatigue: added per unit of fatigue.
        opt_out_disengagement: added at full disengagement.
        opt_out_campaign: by campaign, added.
        permission_per_session: probability that a session brings the user to allow a channel again.
        session_timing: relative swing of the organic rate over the day; less than 1.
        session_habit: added to the logarithm of the organic rate per unit of habit above 0.5.
        session_disengagement: subtracted from it at full disengagement.
        weekend_factor: organic rate on Saturdays and Sundays, relative to other days.
        yearly_swing: relative swing of the organic rate over the year, highest in mid-December.
        minutes_per_session: mean of an organic session of a free user.
        minutes_premium_factor: times that, for premium users.
        minutes_spread: standard deviation of the logarithm of a session's minutes.
        minutes_clicked: by domain, added by a click on a message with relevance 1.
        habit_organic: share of the rest to full habit that an organic session takes.
        habit_clicked: the same for a click on a message with relevance 1: what sticks.
        habit_campaign: by campaign, times that.
        habit_half_life_days: with which habit is lost.
        conversion_per_session: probability that a free user at habit 0.5 without intent turns premium in a session.
        conversion_habit: added to its logarithm per unit of habit above 0.5.
        intent_clicked: share of the rest to full intent that a click on a premium offer of relevance 1 takes.
        intent_factor: times the probability of conversion, added at full intent.
        intent_half_life_days: with which intent is lost.
        cancel_per_day: hazard that a premium user at habit 0.5 turns free.
        churn_per_day: hazard that a free user at habit 0.5 leaves for good.
        churn_premium_factor: times that, for premium users.
        leave_habit: subtracted from the logarithm of both hazards per unit of habit above 0.5.
        leave_disengagement: added at full disengagement.
        quiet_from_hour: local; nothing is sent from then on ...
        quiet_until_hour: ... until then.
        cap_day: by channel, messages in 24 hours.
        cap_week: by channel, messages in seven days.

    Raises:
        InvalidInputError: if a tuple has the wrong length, or a share, time or rate makes no sense.
    """

    ios_share: float = 0.45
    premium_share: float = 0.4
    push_opt_in: tuple[float, ...] = (0.494, 0.595)
    email_opt_in: float = 0.7
    zone_hours: tuple[float, ...] = (-8.0, -5.0, 0.0, 1.0, 5.0, 9.0)
    zone_shares: tuple[float, ...] = (0.15, 0.25, 0.15, 0.25, 0.1, 0.1)
    sessions_per_day: float = 0.55
    sessions_spread: float = 0.9
    clickiness_spread: float = 0.6
    sensitivity_spread: float = 0.5
    interest_mean: tuple[float, ...] = (0.3, -0.4, -0.7, -1.0, -0.8)
    interest_spread: float = 1.3
    affinity_noise: float = 0.6
    timing_noise_hours: float = 2.0
    followed_sources: float = 0.8
    followed_spread: float = 4.2
    alerts_per_source_month: float = 0.8
    arrivals_per_day: tuple[float, ...] = (0.18, 0.16, 0.06, 0.06, 0.1)
    arrivals_spread: float = 0.6
    friday_factor: tuple[float, ...] = (3.0, 1.0, 1.5, 1.0, 1.0)
    life_hours: tuple[float, ...] = (48.0, 36.0, 96.0, 96.0, 72.0)
    quality_spread: float = 0.9
    value_scale: tuple[float, ...] = (30.0, 12.0, 4.0, 2.0, 20.0)
    value_noise: tuple[float, ...] = (0.3, 0.3, 0.5, 0.3, 0.5)
    overclaim: tuple[float, ...] = (1.0, 1.0, 2.5, 1.0, 1.0)
    click_logit: tuple[float, ...] = (-3.25, -4.0, -2.7)
    click_per_relevance: float = 4.0
    click_per_activity: float = 0.2
    click_timing: float = 0.35
    click_campaign: tuple[float, ...] = (0.0, 0.15, 0.7, 0.1)
    click_fatigue: float = 0.25
    click_habituation: float = 1.2
    click_repeat: float = 0.6
    repeat_half_life_days: float = 15.0
    email_opened_logit: float = 2.8
    influence: float = 1.0
    intrusiveness: tuple[float, ...] = (1.0, 0.5, 0.25)
    fatigue_half_life_hours: float = 36.0
    habituation_rise: tuple[float, ...] = (0.08, 0.08, 0.05)
    habituation_alert: float = 0.015
    habituation_half_life_days: float = 10.0
    annoyance: float = 0.02
    annoyance_fatigue: float = 0.5
    annoyance_campaign: tuple[float, ...] = (1.0, 1.0, 1.8, 1.0)
    contentment: float = 0.2
    disengagement_half_life_days: float = 28.0
    opt_out_logit: tuple[float, ...] = (-6.6, -6.6, -1e9)
    opt_out_per_relevance: float = 3.0
    opt_out_fatigue: float = 0.35
    opt_out_disengagement: float = 2.0
    opt_out_campaign: tuple[float, ...] = (0.0, -0.1, 0.6, 0.0)
    permission_per_session: float = 0.0008
    session_timing: float = 0.6
    session_habit: float = 1.4
    session_disengagement: float = 1.5
    weekend_factor: float = 1.15
    yearly_swing: float = 0.08
    minutes_per_session: float = 26.0
    minutes_premium_factor: float = 1.5
    minutes_spread: float = 0.7
    minutes_clicked: tuple[float, ...] = (15.0, 25.0, 5.0, 30.0, 0.0)
    habit_organic: float = 0.05
    habit_clicked: float = 0.6
    habit_campaign: tuple[float, ...] = (1.0, 1.1, 0.2, 1.0)
    habit_half_life_days: float = 14.0
    conversion_per_session: float = 0.0008
    conversion_habit: float = 2.0
    intent_clicked: float = 0.8
    intent_factor: float = 25.0
    intent_half_life_days: float = 5.0
    cancel_per_day: float = 0.0004
    churn_per_day: float = 0.0016
    churn_premium_factor: float = 0.2
    leave_habit: float = 2.0
    leave_disengagement: float = 2.5
    quiet_from_hour: float = 22.0
    quiet_until_hour: float = 8.0
    cap_day: tuple[int, ...] = (2, 1, 1)
    cap_week: tuple[int, ...] = (8, 3, 4)

    def __post_init__(self) -> None:
        lengths = {
            "push_opt_in": PLATFORMS, "zone_shares": self.zone_hours, "interest_mean": DOMAINS,
            "arrivals_per_day": DOMAINS, "friday_factor": DOMAINS, "life_hours": DOMAINS, "value_scale": DOMAINS,
            "value_noise": DOMAINS, "overclaim": DOMAINS, "click_logit": CHANNELS, "click_campaign": CAMPAIGNS,
            "intrusiveness": CHANNELS, "habituation_rise": CHANNELS, "annoyance_campaign": CAMPAIGNS,
            "opt_out_logit": CHANNELS, "opt_out_campaign": CAMPAIGNS, "minutes_clicked": DOMAINS,
            "habit_campaign": CAMPAIGNS, "cap_day": CHANNELS, "cap_week": CHANNELS,
        }  # fmt: skip
        for name, over in lengths.items():
            if len(getattr(self, name)) != len(over):
                raise InvalidInputError(describe(name, getattr(self, name), f"must be {len(over)} numbers: {over}"))
        check_numbers(self, any_length=("zone_hours", "zone_shares"))
        for field in fields(self):
            value = getattr(self, field.name)
            numbers = value if isinstance(value, tuple) else (value,)
            rate = field.name.endswith(
                ("_day", "leave_habit", "leave_disengagement", "_hours", "_days", "_spread", "_noise", "_scale")
            )
            if rate and field.name != "zone_hours" and min(numbers) < 0:
                raise InvalidInputError(describe(field.name, value, "must be >= 0"))
            if field.name.endswith("half_life_days") and value == 0:
                raise InvalidInputError(describe(field.name, value, "must be > 0"))
        for name in ("ios_share", "premium_share", "push_opt_in", "email_opt_in", "zone_shares", "session_timing"):
            value = getattr(self, name)
            if not all(0.0 <= share <= 1.0 for share in (value if isinstance(value, tuple) else (value,))):
                raise InvalidInputError(describe(name, value, "must be in [0, 1]"))
        if abs(sum(self.zone_shares) - 1.0) > 1e-9:
            raise InvalidInputError(describe("zone_shares", self.zone_shares, "must sum to 1"))


@dataclass(frozen=True)
class Drift:
    """What changes while the world runs; None where it does not.

    Attributes:
        interests_day: from this day on, the interests of `interests_share` of the users are drawn anew. The
            recommender's affinities stay as they were.
        interests_share: of users.
        overclaim_day: from this day on, the generator of `overclaim_domain` claims `overclaim` times what is true.
        overclaim_domain: one of `DOMAINS`.
        overclaim: >= 1.
        new_campaign_day: from this day on, half of all opportunities are written in a new way, as `recap`.

    Example:
        >>> Drift(overclaim_day=30, overclaim_domain="podcasts")
        Traceback (most recent call last):
        homing.errors.UnknownNameError: overclaim_domain == 'podcasts', must be one of ... Did you mean 'podcast'?
    """

    interests_day: float | None = None
    interests_share: float = 0.5
    overclaim_day: float | None = None
    overclaim_domain: str = "podcast"
    overclaim: float = 3.0
    new_campaign_day: float | None = None

    def __post_init__(self) -> None:
        if self.overclaim_domain not in DOMAINS:
            raise unknown_name("overclaim_domain", self.overclaim_domain, DOMAINS)
        check_number("overclaim", self.overclaim)
        check_number("interests_share", self.interests_share)
        if self.overclaim < 1.0:
            raise InvalidInputError(describe("overclaim", self.overclaim, "must be >= 1"))
        if not 0.0 <= self.interests_share <= 1.0:
            raise InvalidInputError(describe("interests_share", self.interests_share, "must be in [0, 1]"))
        for name in ("interests_day", "overclaim_day", "new_campaign_day"):
            day = getattr(self, name)
            if day is not None and check_number(name, day) < 0.0:
                raise InvalidInputError(describe(name, day, "must be >= 0, or None"))


def numbers(p: MessagingParameters) -> np.recarray[tuple[int], np.dtype[Any]]:
    """The parameters as kernels take them: one record, with what each state keeps of itself in a step besides."""
    values: dict[str, Any] = {field.name: getattr(p, field.name) for field in fields(p)}
    half_lives_days = {
        "habit": p.habit_half_life_days, "disengagement": p.disengagement_half_life_days,
        "fatigue": p.fatigue_half_life_hours / 24.0, "habituation": p.habituation_half_life_days,
        "intent": p.intent_half_life_days,
    }  # fmt: skip
    values |= {f"keep_{name}": 0.5 ** (1.0 / STEPS_A_DAY / days) for name, days in half_lives_days.items()}
    # No user cancels or leaves with a higher probability in a step: without habit, and fully disengaged.
    worst = math.exp(p.leave_disengagement + 0.5 * p.leave_habit) / STEPS_A_DAY
    values["likeliest_leave"] = worst * max(p.cancel_per_day, p.churn_per_day * max(1.0, p.churn_premium_factor))
    shapes = [(name, np.float64, np.shape(value)) for name, value in values.items()]
    return np.array([tuple(values.values())], dtype=shapes).view(np.recarray)
