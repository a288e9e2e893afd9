package main

import (
	"github.com/deakit/deakit/applog"
)

// openEmitters opens the ways by which the lines of apps leave.
func (n *node) openEmitters() error {
	wanted := n.cfg.Deakit.LogEmitters
	var emitters []applog.Emitter
	if wanted.Syslog != "" || wanted.Drains {
		syslog, err := applog.NewSyslog(applog.SyslogConfig{
			Target: string(wanted.Syslog), Drains: wanted.Drains, Hostname: n.host, Logger: n.log.Logger,
		})
		if err != nil {
			return err
		}
		emitters = append(emitters, syslog)
		n.servers = append(n.servers, server{"log lines by syslog", syslog.Run})
	}
	if wanted.NATS != "" {
		byNATS, err := applog.NewNATS(applog.NATSConfig{Conn: n.conn, Prefix: wanted.NATS, Logger: n.log.Logger})
		if err != nil {
			return err
		}
		emitters = append(emitters, byNATS)
		n.servers = append(n.servers, server{"log lines by NATS", byNATS.Run})
	}
	if len(emitters) > 0 {
		n.lines = applog.Tee(emitters...)
	}
	if n.cfg.Loggregator != nil {
		n.log.Warn("dea.loggregator.unused", "remedy", "lines of apps leave by deakit.log_emitters: syslog, drains or nats")
	}
	return nil
}
