"""The declaration of services: models, loader, catalog. Imports nothing heavy, since every DAG parse reads it."""

from slipway.spec.catalog import InvalidService, ServiceCatalog, load_services
from slipway.spec.hooks import HookSpec
from slipway.spec.loader import load_spec
from slipway.spec.monitor import MonitorSpec
from slipway.spec.project import project_dir
from slipway.spec.promote import MetricsSpec, PromoteSpec
from slipway.spec.retrain import DataSpec, JdbcSpec, RetrainSpec
from slipway.spec.service import ApprovalSpec, NotifySpec, SecuritySpec, ServiceSpec
from slipway.spec.serving import GoldenRowsSpec, ServingSpec
from slipway.spec.stage import InstancesSpec, StageName, StageSpec, StagesSpec

__all__ = [
    "ApprovalSpec",
    "DataSpec",
    "GoldenRowsSpec",
    "HookSpec",
    "InstancesSpec",
    "InvalidService",
    "JdbcSpec",
    "MetricsSpec",
    "MonitorSpec",
    "NotifySpec",
    "PromoteSpec",
    "RetrainSpec",
    "SecuritySpec",
    "ServiceCatalog",
    "ServiceSpec",
    "ServingSpec",
    "StageName",
    "StageSpec",
    "StagesSpec",
    "load_services",
    "load_spec",
    "project_dir",
]
