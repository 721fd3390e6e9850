"""The receiver of syslog: RFC 5424 and what came before it, over UDP, TCP, TLS and the sockets that libc writes to."""
