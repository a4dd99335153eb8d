"""Settings that many tests share. TRUSTED and STRANGER are addresses that clients come from.

    inside.test   served, delivered to the sink at ip(2)
    everything else goes to the sink at ip(3)
"""
TRUSTED, STRANGER = 100, 50


def guard(net, domain="recipients = any", inside=None, extra="", networks=None):
    inside = inside or f"smtp://{net.ip(2)}:2600"
    return f"""
trusted = {networks or net.ip(TRUSTED) + "/32"}
listen mx {{
    address = {net.ip(1)}:2525
    kind = trusted
}}
domain inside.test {{
    inside = {inside}
    {domain}
}}
route rest {{
    domains = *
    via = smtp://{net.ip(3)}:2600
}}
{extra}
"""


def submission(net, cert, domain="recipients = any", extra="", rest=None):
    """587 is 2587, 465 is 2465; 25 is 2525 as in guard()."""
    return guard(net, domain, extra=extra if rest is None else extra + rest) + f"""
listen submission {{
    address = {net.ip(1)}:2587
    kind = submission
    certificate = {cert[0]} {cert[1]}
}}
listen submissions {{
    address = {net.ip(1)}:2465
    kind = submissions
    certificate = {cert[0]} {cert[1]}
}}
"""


def waits(net):
    return [(net.ip(1), 2525), (net.ip(1), 2587), (net.ip(1), 2465, "tls")]


def trusted(g, **words):
    """A client of the trusted network that has said EHLO."""
    c = g.smtp(source=g.net.ip(TRUSTED), **words)
    c.ehlo()
    return c


def stranger(g, **words):
    c = g.smtp(source=g.net.ip(STRANGER), **words)
    c.ehlo()
    return c
