/* Probes of PostgreSQL 15 (src/backend/utils/probes.d), those that the tests look at. */
provider postgresql {
	probe transaction__start(unsigned int);
	probe lock__wait__start(unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, int);
	probe query__start(const char *);
	probe query__done(const char *);
	probe sort__start(int, _Bool, int, int, _Bool, int);
	probe buffer__read__start(int, unsigned int, unsigned int, unsigned int, unsigned int, int, _Bool);
	probe checkpoint__done(int, int, int, int, int);
};
