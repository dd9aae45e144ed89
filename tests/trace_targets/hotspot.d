/* Probes of HotSpot (src/hotspot/os/posix/dtrace/hotspot.d), those that the tests look at. */
provider hotspot {
	probe vm__init__begin();
	probe class__loaded(char *, uintptr_t, void *, uintptr_t);
};
