"""The baselines in NumPy and float64, written from the papers; where an optimizer of src/optimizers follows code, from that.

Each is made with its hyperparameters, and `step(lr, thetas, grads)` moves a list of arrays. It returns the scales that rounding
errors of the updates are relative to: the update with absolute values in place of what cancels.
"""

import numpy as np


class Base:
    def __init__(self, **hyperparameters):
        vars(self).update(self.defaults | hyperparameters)
        self.t, self.state = 0, None

    def step(self, lr, thetas, grads):
        if self.state is None:
            self.state = [self.initial(theta) for theta in thetas]
        self.t += 1
        return self.steps(lr, thetas, grads)

    def initial(self, theta):
        return {name: np.zeros_like(theta) for name in ("m", "m_scale", "v")}

    def steps(self, lr, thetas, grads):
        return [self.one(lr, *each) for each in zip(thetas, grads, self.state)]

    def moments(self, s, g, g_scale=None):
        s["m"] = self.beta1 * s["m"] + (1 - self.beta1) * g
        s["m_scale"] = self.beta1 * s["m_scale"] + (1 - self.beta1) * (abs(g) if g_scale is None else g_scale)
        s["v"] = self.beta2 * s["v"] + (1 - self.beta2) * g**2

    def corrections(self):
        return 1 - self.beta1**self.t, 1 - self.beta2**self.t

    def adam(self, lr, theta, s):
        one, two = self.corrections()
        factor = lr / one / (np.sqrt(s["v"] / two) + self.eps)
        theta -= factor * s["m"]
        return factor * s["m_scale"]


class Adam(Base):
    defaults = dict(beta1=0.9, beta2=0.999, eps=1e-8, decay=0.0)

    def one(self, lr, theta, g, s):
        self.moments(s, g + self.decay * theta, abs(g) + self.decay * abs(theta))
        return self.adam(lr, theta, s)


class AdamW(Base):
    defaults = dict(beta1=0.9, beta2=0.999, eps=1e-8, decay=1e-2)

    def one(self, lr, theta, g, s):
        self.moments(s, g)
        decayed = lr * self.decay * abs(theta)
        theta -= lr * self.decay * theta
        return decayed + self.adam(lr, theta, s)


class NAdam(Base):
    defaults = dict(beta1=0.9, beta2=0.999, eps=1e-8, momentum_decay=4e-3)

    def mu(self, t):
        return self.beta1 * (1 - 0.5 * 0.96 ** (t * self.momentum_decay))

    def one(self, lr, theta, g, s):
        self.moments(s, g)
        product = np.prod([self.mu(i) for i in range(1, self.t + 1)])
        mu, following = self.mu(self.t), self.mu(self.t + 1)
        of_m, of_g = following / (1 - product * following), (1 - mu) / (1 - product)
        factor = lr / (np.sqrt(s["v"] / (1 - self.beta2**self.t)) + self.eps)
        theta -= factor * (of_m * s["m"] + of_g * g)
        return factor * (of_m * s["m_scale"] + of_g * abs(g))


class Adamax(Base):
    defaults = dict(beta1=0.9, beta2=0.999, eps=1e-8)

    def one(self, lr, theta, g, s):
        s["u"] = np.maximum(self.beta2 * s.get("u", 0 * g), abs(g) + self.eps)
        self.moments(s, g)
        factor = lr / (1 - self.beta1**self.t) / s["u"]
        theta -= factor * s["m"]
        return factor * s["m_scale"]


class AdaBound(Base):
    """`base_lr` has no default."""

    defaults = dict(beta1=0.9, beta2=0.999, eps=1e-8, final_lr=0.1, gamma=1e-3)

    def one(self, lr, theta, g, s):
        self.moments(s, g)
        one, two = self.corrections()
        final_lr = self.final_lr * lr / self.base_lr
        lower = final_lr * (1 - 1 / (self.gamma * self.t + 1))
        upper = final_lr * (1 + 1 / (self.gamma * self.t))
        rate = np.clip(lr * np.sqrt(two) / one / (np.sqrt(s["v"]) + self.eps), lower, upper)
        theta -= rate * s["m"]
        return rate * s["m_scale"]


class NdAdam(Base):
    """`axes[i]` is the axis that the weights into one unit of tensor i lie along, or None."""

    defaults = dict(beta1=0.9, beta2=0.999, eps=1e-8, unit_rate=50.0)

    def steps(self, lr, thetas, grads):
        if self.t == 1:
            for theta, axis in zip(thetas, self.axes):
                if axis is not None:
                    theta /= np.linalg.norm(theta, axis=axis, keepdims=True)
        return [self.one(lr, *each) for each in zip(thetas, grads, self.state, self.axes)]

    def one(self, lr, theta, g, s, axis):
        if axis is None:
            self.moments(s, g)
            return self.adam(lr, theta, s)
        norm = lambda x: np.linalg.norm(x, axis=axis, keepdims=True)  # noqa: E731
        along = (g * theta).sum(axis=axis, keepdims=True)
        # An error of w in any element is one of g·w.
        scale = abs(g) + norm(g) * (abs(theta) + abs(theta).max(axis=axis, keepdims=True))
        g = g - along * theta
        s["m"] = self.beta1 * s["m"] + (1 - self.beta1) * g
        s["m_scale"] = self.beta1 * s["m_scale"] + (1 - self.beta1) * scale
        s["v"] = self.beta2 * s["v"] + (1 - self.beta2) * norm(g) ** 2
        scale = self.adam(self.unit_rate * lr, theta, s)
        length = norm(theta)
        theta /= length
        # So is an error in any element, of |w|.
        return scale / length + norm(scale) / length


class Swats(Base):
    """`switched_at` is the step that switched, and `margins` are how far each was from doing so."""

    defaults = dict(beta1=0.9, beta2=0.999, eps=1e-9, threshold=1e-9)
    mean, Lambda, switched_at = 0.0, None, None

    def steps(self, lr, thetas, grads):
        if self.switched_at is not None:
            return [self.sgd(lr / self.lr_then, *each) for each in zip(thetas, grads, self.state)]
        one, two = self.corrections()
        steps, scales = [], []
        for theta, g, s in zip(thetas, grads, self.state):
            self.moments(s, g)
            factor = lr * np.sqrt(two) / one / (np.sqrt(s["v"]) + self.eps)
            steps.append(-factor * s["m"])
            scales.append(factor * s["m_scale"])
            theta += steps[-1]
        p, g = (np.concatenate([x.ravel() for x in xs]) for xs in (steps, grads))
        if p @ g != 0:
            gamma = p @ p / -(p @ g)
            self.mean = self.beta2 * self.mean + (1 - self.beta2) * gamma
            mean = self.mean / two
            self.margins = getattr(self, "margins", []) + [abs(mean - gamma)]
            if self.t > 1 and abs(mean - gamma) < self.threshold and mean > 0:
                self.Lambda, self.lr_then, self.switched_at = mean, lr, self.t
                for s in self.state:
                    s["u"], s["u_scale"] = 0 * s["m"], 0 * s["m"]
        return scales

    def sgd(self, schedule, theta, g, s):
        s["u"] = self.beta1 * s["u"] + g
        s["u_scale"] = self.beta1 * s["u_scale"] + abs(g)
        rate = (1 - self.beta1) * self.Lambda * schedule
        theta -= rate * s["u"]
        return rate * s["u_scale"]


class Adai(Base):
    defaults = dict(beta0=0.1, beta2=0.99, eps=1e-3)

    def steps(self, lr, thetas, grads):
        correction = 1 - self.beta2**self.t
        for g, s in zip(grads, self.state):
            s["v"] = self.beta2 * s["v"] + (1 - self.beta2) * g**2
        mean = np.concatenate([s["v"].ravel() for s in self.state]).mean() / correction
        return [self.one(lr, mean, correction, *each) for each in zip(thetas, grads, self.state)]

    def one(self, lr, mean, correction, theta, g, s):
        beta1 = np.clip(1 - self.beta0 * s["v"] / correction / mean, 0, 1 - self.eps)
        s["product"] = s.get("product", 1.0) * beta1
        s["m"] = beta1 * s["m"] + (1 - beta1) * g
        s["m_scale"] = beta1 * s["m_scale"] + (1 - beta1) * abs(g)
        factor = lr / (1 - s["product"])
        theta -= factor * s["m"]
        return factor * s["m_scale"]
