#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The end-to-end tests once more, every client over TLS: every promise must hold there too."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
RUN = os.path.join(os.path.dirname(HERE), "e2e/run.py")
os.execv(sys.executable, [sys.executable, RUN, "--tls", *sys.argv[1:]])
