# Varnish before Hookrill, for Varnish 6.0 and newer. It speaks no TLS: that is
# for whatever stands before it, or for Hitch.
#
# Copy it to /etc/varnish/default.vcl and change the lines marked CHANGE.
# docs/proxies.md says more about each setting.

vcl 4.1;

backend hookrill {
    .host = "127.0.0.1"; # CHANGE
    .port = "8080";      # CHANGE
    # A gateway whose machine is gone must not hold its clients.
    .connect_timeout = 5s;
    .first_byte_timeout = 30s;
}

sub vcl_recv {
    # The client's address is in X-Forwarded-For already: name Varnish in
    # Hookrill's trusted_proxies.

    # A stream is passed on byte by byte. Varnish's own delivery would ask for
    # gzip on behalf of everybody and undo it for those who take none, and that
    # holds events back; and it would let a second subscriber wait for the first
    # one's answer.
    if (req.url ~ "^/events([/?]|$)") {
        return (pipe);
    }
    # Nothing of Hookrill's is to be kept.
    return (pass);
}

sub vcl_pipe {
    # One stream, one connection: what a client sends behind its request would
    # reach Hookrill as if it came from Varnish.
    set bereq.http.Connection = "close";
}

