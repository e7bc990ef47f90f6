"""Metrics, curves, calibration and decisions: functions of arrays, on the rows of a whole split, and the plain data that they fit."""

from recipes.evaluation.calibrations import Calibration, FocalInverse, NoCalibration, PriorCorrection
from recipes.evaluation.calibrations_fitted import (
    AutoCalibration,
    BetaCalibration,
    IsotonicCalibration,
    PlattScaling,
    TemperatureScaling,
    VectorScaling,
)
from recipes.evaluation.calibrators import Calibrator
from recipes.evaluation.conformal import ConformalKind, always_in, class_scores, sets
from recipes.evaluation.counts import confusion_matrix
from recipes.evaluation.decisions import decide, probabilities
from recipes.evaluation.evaluate import absent, evaluate
from recipes.evaluation.names import METRICS, Metric, check_monitor, direction
from recipes.evaluation.ranking import Curve, curves
from recipes.evaluation.readout import Readout
from recipes.evaluation.reliability import calibration_summary
from recipes.evaluation.rules import Rule
from recipes.evaluation.thresholds import FixedThreshold, NoThreshold, Threshold
from recipes.evaluation.thresholds_by_class import CostThreshold, Offsets, PerLabel
from recipes.evaluation.thresholds_by_cut import (
    BalancedAccuracyThreshold,
    F1Threshold,
    FBetaThreshold,
    GMeanThreshold,
    MCCThreshold,
    PrecisionAtRecall,
    RecallAtPrecision,
)

__all__ = [
    "METRICS",
    "AutoCalibration",
    "BalancedAccuracyThreshold",
    "BetaCalibration",
    "Calibration",
    "Calibrator",
    "ConformalKind",
    "CostThreshold",
    "Curve",
    "F1Threshold",
    "FBetaThreshold",
    "FixedThreshold",
    "FocalInverse",
    "GMeanThreshold",
    "IsotonicCalibration",
    "MCCThreshold",
    "Metric",
    "NoCalibration",
    "NoThreshold",
    "Offsets",
    "PerLabel",
    "PlattScaling",
    "PrecisionAtRecall",
    "PriorCorrection",
    "Readout",
    "RecallAtPrecision",
    "Rule",
    "TemperatureScaling",
    "Threshold",
    "VectorScaling",
    "absent",
    "always_in",
    "calibration_summary",
    "check_monitor",
    "class_scores",
    "confusion_matrix",
    "curves",
    "decide",
    "direction",
    "evaluate",
    "probabilities",
    "sets",
]
