"""inspection: the commands that look and change nothing: `rules`, `trace`, `status`.

They answer what an operator asks: what would be installed for these objects, which rules does this packet meet and
why does it die, is the agent well. Rules are computed by the agent's own pipeline and walked by `svcnet.trace`, so an
answer here is an answer about the daemon. Objects are read in full (selectors, labels), which the daemon never does.

    file or API server → sources → manifest → inventory → wanted (rules) | destinations, explain, near_miss (trace)
"""
