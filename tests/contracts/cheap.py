"""Parameters for the contract tests of methods whose defaults would take too long on the models of the tests."""

CHEAP: dict[str, dict[str, int]] = {
    "rise": {"masks": 24, "cells": 3},
    "kernel_shap": {"samples": 192},
}
