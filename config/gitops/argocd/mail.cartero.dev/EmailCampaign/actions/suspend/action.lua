-- Suspends the campaign in its spec. With self-healing, Git's word soon counts again: hold it instead.
obj.spec.suspend = true
return obj
