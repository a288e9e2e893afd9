package process

// WithoutSupervisor changes options so that processes are started as where there is no supervisor.
func WithoutSupervisor(opts Options) Options {
	opts.unsupervised = true
	return opts
}
