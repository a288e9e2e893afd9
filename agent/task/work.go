package task

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// begin starts what waits as far as there are workers. m.mu is held.
func (m *Manager) begin() {
	for m.life != nil && m.life.Err() == nil && m.running < m.cfg.Workers && len(m.waiting) > 0 {
		r := m.waiting[0]
		m.waiting = slices.Delete(m.waiting, 0, 1)
		ctx, cancel := context.WithCancelCause(m.life)
		r.cancel = cancel
		m.running++
		m.workers.Go(func() { m.work(ctx, r) })
	}
}

// work runs one task from its beginning to its end.
func (m *Manager) work(ctx context.Context, r *record) {
	defer r.cancel(nil)
	began := time.Now()
	outcome := m.attempt(ctx, r)
	log := m.log.With("task", r.id, "method", r.spec.Method, "took", time.Since(began))
	if outcome.Err != nil {
		log.Warn("agent.task.failed", "error", outcome.Err)
	} else {
		log.Info("agent.task.done")
	}
	// A task that the end of the process has interrupted is to be resumed.
	if outcome.Err == nil || m.life.Err() == nil {
		if err := m.settle(r); err != nil {
			log.Error("agent.task.unsettled", "error", err) // it will be resumed in vain
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running--
	m.end(r, outcome)
	m.begin()
}

// attempt survives a Func that panics.
func (m *Manager) attempt(ctx context.Context, r *record) (outcome Outcome) {
	defer func() {
		if fault := recover(); fault != nil {
			m.log.Error("agent.task.panic", "task", r.id, "method", r.spec.Method, "error", fault, "stack", string(debug.Stack()))
			outcome = Outcome{Err: fmt.Errorf("internal error: %v", fault)}
		}
	}()
	if r.fresh {
		if ctx.Err() != nil { // it stays in the Store as one that waits, unless it was cancelled
			return Outcome{Err: context.Cause(ctx)}
		}
		begin := func() error { return m.cfg.Store.begin(r.id) }
		if r.spec.BeginsItself {
			ctx = context.WithValue(ctx, beginKey{}, begin)
		} else if err := begin(); err != nil {
			return Outcome{Err: err}
		}
	}
	value, err := r.spec.Do(ctx, r.id)
	if err != nil {
		return Outcome{Err: err}
	}
	return Outcome{Value: value}
}

type beginKey struct{}

// Begun notes in the Store that a task has begun which begins itself; when it returns nil that is on disk: the next process resumes
// the task. While it is not, the next one repeats it. Of other tasks, and outside of tasks, it does nothing.
func Begun(ctx context.Context) error {
	begin, ok := ctx.Value(beginKey{}).(func() error)
	if !ok {
		return nil
	}
	return begin()
}

// settle removes a task from the Store.
func (m *Manager) settle(r *record) error {
	if !r.stored {
		return nil
	}
	return m.cfg.Store.remove(r.id)
}

// end notes an outcome, and lets go of what the task held. m.mu is held.
func (m *Manager) end(r *record, outcome Outcome) {
	r.done, r.result, r.ended, r.size = true, outcome, time.Now(), len(outcome.Value)
	if outcome.Err != nil {
		r.size = len(outcome.Err.Error())
	}
	r.spec = Spec{Method: r.spec.Method}
	m.load -= r.load
	m.finished, m.kept = append(m.finished, r), m.kept+r.size
	m.forget()
}

// forget drops outcomes beyond the bounds, the oldest first. m.mu is held.
func (m *Manager) forget() {
	for len(m.finished) > 0 {
		oldest := m.finished[0]
		over := len(m.finished) > m.cfg.Keep || m.kept > m.cfg.KeepBytes && len(m.finished) > 1
		if !over && time.Since(oldest.ended) < m.cfg.KeepFor {
			return
		}
		m.finished, m.kept = slices.Delete(m.finished, 0, 1), m.kept-oldest.size
		delete(m.tasks, oldest.id)
	}
}

// drop takes a task out of those that wait. m.mu is held.
func (m *Manager) drop(r *record) {
	m.waiting = slices.DeleteFunc(m.waiting, func(other *record) bool { return other == r })
}

// Cancelled tells whether a task's context has ended because somebody cancelled it.
func Cancelled(ctx context.Context) bool { return errors.Is(context.Cause(ctx), ErrCancelled) }
