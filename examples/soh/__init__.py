"""The bundled demo student: battery state of health, one cycle in, a forecast of 100 with every tenth."""
