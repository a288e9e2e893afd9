// Package alert makes the alerts of a BOSH agent: what its process supervisor and the login service of its machine have to
// tell becomes a [messaging.AgentAlert] for the health monitor.
//
//   - An [Event] is something that monit reports. [SMTP] is the mail server on the loopback interface to which monit sends its
//     mails; [ParseMail] reads one.
//   - [Severity] knows how serious each kind of event is; [FromEvent] makes the alert, or says that there is nothing to tell.
//   - [Reporter] puts these together: a mail goes in, an alert comes out.
//   - [SSH] listens to the system log for logins by ssh; [FromSyslog] reads one line.
//
// The package sends nothing to anyone: the caller passes alerts on, to package heartbeat for example. The listeners take what
// comes from the machine itself, of bounded size, number and time, and belong on the loopback interface.
package alert
