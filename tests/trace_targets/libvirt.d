/* Probes of libvirt (src/libvirt_probes.d), those of its objects. */
provider libvirt {
	probe object_new(void *obj, const char *klassname);
	probe object_ref(void *obj);
	probe object_unref(void *obj);
	probe object_dispose(void *obj);
};
