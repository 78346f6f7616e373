"""Priors p(z) over the latent space: one class each, ``prior(n_latent)`` builds one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skvae.nn.noise import LOG_2PI, normal
from skvae.nn.pullbacks import Pullback, add_grad, by_autograd, closed_form, softmax

KL = tuple[Tensor, Callable[[Tensor], list[Tensor]]]  # (b,), and its pullback to the posteriors' two tensors (k, b)

CACHED = 2**17  # log-densities of modes that are summed at once
NOTHING = -80.0  # nats below the largest of them
SAME = 1e-3  # distance, as a share of a posterior mean's norm (and 1), within which it is the same row's


class Prior(nn.Module):
    """What every prior over k latent components offers."""

    needs_generator: bool = False  # whether it is built with a stream that its start values are drawn from

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (..., k) in nats, shape (...)."""
        raise NotImplementedError("a prior defines log_prob(z)")

    def marginal_log_prob(self, z: Tensor) -> Tensor:
        """Log-density of each component on its own, shape (..., k)."""
        raise NotImplementedError("a prior defines marginal_log_prob(z)")

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n latent rows, shape (n, k)."""
        raise NotImplementedError("a prior defines sample(n, generator)")

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each component, two tensors of shape (k,)."""
        raise NotImplementedError("a prior defines moments()")

    def kl(self, mean: Tensor, log_std: Tensor) -> Tensor | None:
        """KL(q || p) per component in nats, shape (..., k), where it is closed; else None."""
        return None

    def with_pullback(self, z: Tensor) -> tuple[Tensor, Pullback]:
        """Log-density (S, b) of z (k, S, b), features first, and its pullback to z.

        Inherited, it is that of `log_prob` by autograd. A closed form adds the gradients of parameters to their `grad`.
        """
        value, pull = by_autograd(lambda z: self.log_prob(z.movedim(0, -1).contiguous()), z)
        return value, lambda grad: pull(grad)[0]

    def features_first(self, z: Tensor) -> Tensor:
        """Log-density (S, b) of z (k, S, b). Inherited, it is `log_prob`."""
        return self.log_prob(z.movedim(0, -1).contiguous())

    def kl_with_pullback(self, mean: Tensor, log_std: Tensor) -> KL | None:
        """KL(q || p) in nats, (b,), for posteriors (k, b), and its pullback to both, where it is closed; else None."""
        with torch.no_grad():
            if self.kl(mean.T.contiguous(), log_std.T.contiguous()) is None:
                return None

        def kl(*posterior: Tensor) -> Tensor:
            each = self.kl(*(part.T.contiguous() for part in posterior))
            assert each is not None, "as it was before"
            return each.sum(-1)

        return by_autograd(kl, mean, log_std)

    def settle(self, mean: Tensor, log_std: Tensor, log_weight: Tensor) -> None:
        """Training is over: take the posteriors of some training rows, two tensors of shape (m, k), weighted (m,).

        Most priors are what training made of them and do nothing here.
        """

    def unsettle(self) -> None:
        """Training begins (again): back to what `settle` found."""

    def log_prob_of_others(self, z: Tensor, mean: Tensor) -> Tensor:
        """Log-density of z (..., b, k) without what training rows with these posterior means (b, k) put into the prior.

        For most priors the density itself: they remember no rows.
        """
        return self.log_prob(z)

    @property
    def n_modes(self) -> int:
        """Densities that one evaluation of `log_prob` sums over, for the size of inference chunks."""
        return 1


def kl_to_standard_normal(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(mean, std) || N(0, 1)) per component (Kingma and Welling 2013, appendix B)."""
    return 0.5 * (mean.square() + torch.exp(2.0 * log_std) - 1.0) - log_std


def _kl_to_standard_normal_with_pullback(mean: Tensor, log_std: Tensor) -> KL:
    wider = torch.expm1(log_std + log_std)  # variances less 1
    value = torch.addcmul(wider, mean, mean).sub_(log_std, alpha=2.0).sum(0).mul_(0.5)
    return value, lambda grad: [grad * mean, grad * wider]


PriorFactory = Callable[[int], Prior]


def log_prob_features_first(prior: Prior, z: Tensor) -> Tensor:
    """Log-density (S, b) of z (k, S, b), where autograd does not record: by what is made for this order, if any."""
    value: Tensor = closed_form(prior, "features_first", Prior)(z)
    return value


class StandardNormal(Prior):
    """N(0, I)."""

    origin: Tensor

    def __init__(self, n_latent: int) -> None:
        super().__init__()
        self.register_buffer("origin", torch.zeros(n_latent))

    def log_prob(self, z: Tensor) -> Tensor:
        return self.marginal_log_prob(z).sum(-1)

    def marginal_log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (z.square() + LOG_2PI)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return normal((n, len(self.origin)), self.origin, generator)

    def moments(self) -> tuple[Tensor, Tensor]:
        return self.origin, torch.ones_like(self.origin)

    def with_pullback(self, z: Tensor) -> tuple[Tensor, Pullback]:
        return -0.5 * (z.square() + LOG_2PI).sum(0), lambda grad: -grad * z

    def kl(self, mean: Tensor, log_std: Tensor) -> Tensor:
        return kl_to_standard_normal(mean, log_std)

    def kl_with_pullback(self, mean: Tensor, log_std: Tensor) -> KL:
        return _kl_to_standard_normal_with_pullback(mean, log_std)


class Mixture(Prior):
    """A learned mixture of Gaussians with diagonal covariances.

    Parameters
    ----------
    n_latent : int
        Latent components k.
    n_components : int, default=8
        Gaussians in the mixture; their means start at random.
    generator : torch.Generator, optional
        Of these; torch's global stream where it is not given.
    """

    needs_generator = True

    def __init__(self, n_latent: int, *, n_components: int = 8, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(n_components))
        self.means = nn.Parameter(0.5 * torch.randn(n_components, n_latent, generator=generator))
        self.log_stds = nn.Parameter(torch.zeros(n_components, n_latent))

    @property
    def n_modes(self) -> int:
        return len(self.means)

    def log_prob(self, z: Tensor) -> Tensor:
        return torch.logsumexp(self.log_modes(z), dim=-1)

    def log_modes(self, z: Tensor) -> Tensor:
        """Log of each mode's share times its density, shape (..., C)."""
        # The quadratic form of every mode at once, expanded so that it costs two matrix products.
        precision = torch.exp(-2.0 * self.log_stds)
        scaled = self.means * precision
        constant = (self.means * scaled).sum(-1) + 2.0 * self.log_stds.sum(-1) + z.shape[-1] * LOG_2PI
        at_origin = torch.log_softmax(self.logits, 0) - 0.5 * constant
        return F.linear(z, scaled, at_origin) + F.linear(z.square(), -0.5 * precision)

    def _as_product(self) -> tuple[Tensor, Tensor]:
        """Precisions (C, k), and the matrix (C, 2k + 1) whose product with `_powers` is `log_modes`."""
        precision = torch.exp(-2.0 * self.log_stds)
        scaled = self.means * precision
        constant = torch.addcmul(self.log_stds, self.means, scaled, value=0.5).sum(1)
        constant.add_(0.5 * self.means.shape[1] * LOG_2PI)
        at_origin = torch.log_softmax(self.logits, 0).sub_(constant).unsqueeze(1)
        return precision, torch.cat([scaled, -0.5 * precision, at_origin], 1)

    def features_first(self, z: Tensor) -> Tensor:
        _, weight = self._as_product()
        parts = _powers(z).split(max(1, CACHED // len(weight)), 1)
        return torch.cat([_log_sum_exp_(torch.mm(weight, part)) for part in parts]).view(z.shape[1:])

    def with_pullback(self, z: Tensor) -> tuple[Tensor, Pullback]:
        k, means, powers = z.shape[0], self.means, _powers(z)
        precision, weight = self._as_product()
        share, value = softmax(torch.mm(weight, powers))  # (C, S * b)

        def pull(grad: Tensor) -> Tensor:
            each = share * grad.reshape(-1)
            first, second, n = torch.mm(each, powers.T).split_with_sizes([k, k, 1], 1)
            to_z, to_square = torch.mm(weight[:, :-1].T, each).view(2, *z.shape).unbind()
            below = torch.addcmul(first, means, n, value=-1.0)
            distance = torch.addcmul(second, means, first + below, value=-1.0)
            add_grad(means, precision * below)
            add_grad(self.log_stds, torch.addcmul(-n, precision, distance))
            add_grad(self.logits, torch.addcmul(n.squeeze(1), torch.softmax(self.logits, 0), n.sum(0), value=-1.0))
            return torch.addcmul(to_z, to_square, z, value=2.0)

        return value.view(z.shape[1:]), pull

    def marginal_log_prob(self, z: Tensor) -> Tensor:
        u = (z.unsqueeze(-2) - self.means) * torch.exp(-self.log_stds)  # (..., C, k)
        log_modes = -0.5 * (u.square() + LOG_2PI) - self.log_stds
        return torch.logsumexp(torch.log_softmax(self.logits, 0).unsqueeze(-1) + log_modes, dim=-2)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        mode = torch.multinomial(torch.softmax(self.logits, 0), n, replacement=True, generator=generator)
        return self.means[mode] + torch.exp(self.log_stds[mode]) * normal(
            mode.shape + self.means.shape[1:], self.means, generator
        )

    def moments(self) -> tuple[Tensor, Tensor]:
        weights = torch.softmax(self.logits, 0).unsqueeze(-1)
        mean = (weights * self.means).sum(0)
        second = (weights * (self.means.square() + torch.exp(2.0 * self.log_stds))).sum(0)
        return mean, (second - mean.square()).sqrt()


def _powers(z: Tensor) -> Tensor:
    """Z (k, S, b), its square and a 1, one above the other, so that one product serves all three: (2k + 1, S * b)."""
    flat = z.flatten(1)
    return torch.cat([flat, flat * flat, torch.ones_like(flat[:1])])


def _log_sum_exp_(x: Tensor) -> Tensor:
    """Log of the sum of exp(x) along the first axis; overwrites x.

    What is too small to count is kept from where its exponential is a denormal number, which takes long to compute.
    """
    top = x.amax(0).clamp_min_(torch.finfo(x.dtype).min)  # all may be minus infinity
    return x.sub_(top).clamp_min_(NOTHING).exp_().sum(0).log_().add_(top)


class AggregatedPosterior(Mixture):
    """N(0, I) while the networks train; then the (weighted) mean of the training rows' posteriors, 1/m sum_i q(z|x_i).

    Of all priors the aggregated posterior gives the highest ELBO (Tomczak and Welling 2018, arXiv 1705.07120, section
    2). Set after training it costs no step, and with a fixed noise the model becomes a kernel density estimate along
    the manifold that the decoder has learned.
    """

    needs_generator = False
    logits: Tensor  # type: ignore[assignment]
    means: Tensor  # type: ignore[assignment]
    log_stds: Tensor  # type: ignore[assignment]

    def __init__(self, n_latent: int) -> None:
        Prior.__init__(self)
        self.n_latent = n_latent
        for name in ("means", "log_stds"):
            self.register_buffer(name, torch.zeros(1, n_latent))  # one mode: N(0, I)
        self.register_buffer("logits", torch.zeros(1))

    @property
    def settled(self) -> bool:
        """Whether the rows' posteriors are in place."""
        return self.n_modes > 1

    def settle(self, mean: Tensor, log_std: Tensor, log_weight: Tensor) -> None:
        self.means, self.log_stds, self.logits = mean.clone(), log_std.clone(), log_weight.clone()

    def unsettle(self) -> None:
        origin = self.means.new_zeros(1, self.n_latent)
        self.settle(origin, origin, origin[:, 0])

    def kl(self, mean: Tensor, log_std: Tensor) -> Tensor | None:
        return None if self.settled else kl_to_standard_normal(mean, log_std)

    def kl_with_pullback(self, mean: Tensor, log_std: Tensor) -> KL | None:
        return None if self.settled else _kl_to_standard_normal_with_pullback(mean, log_std)

    def own_modes(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Which rows with these posterior means (b, k) are among those kept, (m,), and the modes that are theirs, (m,).

        A row's own mode lies where its posterior does, up to the precision of the two passes through the encoder.
        """
        distance, own = torch.cdist(mean, self.means).min(-1)  # (b,)
        rows = (distance <= SAME * (1.0 + mean.norm(dim=-1))).nonzero().squeeze(-1)
        return rows, own[rows]

    def without(self, log_modes: Tensor, own: Tensor) -> Tensor:
        """`log_modes` (..., m, C) of m rows without the modes `own` (m,), the shares of the others having sum 1."""
        place = own.expand(log_modes.shape[:-1]).unsqueeze(-1)
        rest = torch.log1p(-torch.softmax(self.logits, 0)[own])  # the share of the other modes
        return log_modes.scatter(-1, place, -torch.inf) - rest.unsqueeze(-1)

    def log_prob_of_others(self, z: Tensor, mean: Tensor) -> Tensor:
        rows, own = self.own_modes(mean)
        if self.n_modes == 1 or not len(rows):
            return self.log_prob(z)
        of_others = torch.logsumexp(self.without(self.log_modes(z.index_select(-2, rows)), own), -1)
        if len(rows) == z.shape[-2]:
            return of_others
        return self.log_prob(z).index_copy(-1, rows, of_others)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Take as many modes as were saved."""
        for name in ("logits", "means", "log_stds"):
            setattr(self, name, torch.empty_like(state_dict[prefix + name], device=getattr(self, name).device))
        super()._load_from_state_dict(state_dict, prefix, *args)


class Proposal(AggregatedPosterior):
    """A mixture of given Gaussians, equally likely, and with probability `defence` the prior: to draw z from.

    Parameters
    ----------
    prior : Prior
    mean, log_std : tensor of shape (m, k)
    defence : float
        Bounds the weights p(z) / proposal(z) by its inverse (Hesterberg 1995).
    """

    def __init__(self, prior: Prior, mean: Tensor, log_std: Tensor, defence: float) -> None:
        super().__init__(mean.shape[-1])
        self.settle(mean, log_std, mean.new_zeros(len(mean)))
        self.prior, self.defence = prior, defence

    def log_prob(self, z: Tensor) -> Tensor:
        both = torch.stack([super().log_prob(z), self.prior.log_prob(z)])
        shares = both.new_tensor([1.0 - self.defence, self.defence])
        return torch.logsumexp(both + shares.log().view(2, *[1] * (both.ndim - 1)), dim=0)

    def features_first(self, z: Tensor) -> Tensor:
        return Prior.features_first(self, z)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        n_prior = round(self.defence * n)
        return torch.cat([super().sample(n - n_prior, generator), self.prior.sample(n_prior, generator)])


PRIORS: dict[str, PriorFactory] = {
    "standard_normal": StandardNormal,
    "mixture": Mixture,
    "aggregated": AggregatedPosterior,
}
