package main

import (
	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/component"
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
		n.lineStats = append(n.lineStats, syslog.Stats)
		n.servers = append(n.servers, server{"log lines by syslog", syslog.Run})
	}
	if wanted.NATS != "" {
		byNATS, err := applog.NewNATS(applog.NATSConfig{Conn: n.conn, Prefix: wanted.NATS, Logger: n.log.Logger})
		if err != nil {
			return err
		}
		emitters = append(emitters, byNATS)
		n.lineStats = append(n.lineStats, byNATS.Stats)
		n.servers = append(n.servers, server{"log lines by NATS", byNATS.Run})
	}
	if len(emitters) > 0 {
		n.lines = applog.Tee(emitters...)
	}
	return nil
}

// lineMetrics count the lines of apps that left, and those that could not.
func (n *node) lineMetrics() []component.Metric {
	var all applog.Stats
	for _, stats := range n.lineStats {
		s := stats()
		all.Sent, all.Lost = all.Sent+s.Sent, all.Lost+s.Lost
	}
	return []component.Metric{
		component.NewCounter("dea_app_lines_sent_total", "Log lines of apps that were sent on.", float64(all.Sent)),
		component.NewCounter("dea_app_lines_lost_total", "Log lines of apps that could not be sent on.", float64(all.Lost)),
	}
}
