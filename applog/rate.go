package applog

import "time"

// A limiter lets so many lines through in a second, and after a quiet second as many at once. The zero limiter lets
// everything through.
type limiter struct {
	perSecond float64
	tokens    float64
	filled    time.Time
	dropped   int // since it was last told
}

func newLimiter(perSecond int) limiter {
	return limiter{perSecond: float64(perSecond), tokens: float64(perSecond)}
}

// fill gives what the time since the last call has earned.
func (l *limiter) fill(now time.Time) {
	if !l.filled.IsZero() {
		l.tokens = min(l.tokens+now.Sub(l.filled).Seconds()*l.perSecond, l.perSecond)
	}
	l.filled = now
}

// allow takes one line, or counts it as dropped.
func (l *limiter) allow() bool {
	if l.perSecond == 0 {
		return true
	}
	if l.tokens < 1 {
		l.dropped++
		return false
	}
	l.tokens--
	return true
}
