"""Built-in generators, objectives, updaters and exporters, written as any plugin is."""

import logging

# PEFT imports bitsandbytes wherever it is installed, which then says of every machine without its extra CPU kernels
# that it lacks them.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
