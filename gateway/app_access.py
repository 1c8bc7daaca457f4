"""(policy, catalogue, [limit]) and a user -> what the roles come to, for people to read."""

from gateway.config.limit import Limit
from gateway.model import ClusterUser, Risk
from gateway.slurm_api import Catalogue
from gateway.slurm_api.policy import Policy, reachable
from gateway.web.sign_in.house import Access, AllowedClass


def describe_access(
    policy: Policy, catalogue: Catalogue, limit: Limit, user: ClusterUser
) -> Access:
    """Classes that the user reaches in any version, with their rates; conditions of roles are not looked at."""
    by_risk: dict[Risk, list[str]] = {}
    for entry in reachable(policy, user.roles, catalogue):
        by_risk.setdefault(entry.operation.risk, []).append(entry.operation.name)
    classes = [
        AllowedClass(
            risk.value,
            getattr(limit.rates, risk.lower().replace("-", "_")),
            tuple(sorted(set(by_risk[risk]))),
        )
        for risk in Risk
        if risk in by_risk
    ]
    return Access(classes, limit.concurrent_per_identity)
