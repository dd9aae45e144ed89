/* Probes of CPython 3.11 (Include/pydtrace.d), those that the tests look at. */
provider python {
	probe function__return(const char *, const char *, int);
	probe gc__start(int);
	probe gc__done(long);
	probe audit(const char *, void *);
};
